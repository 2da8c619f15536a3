"""The workloads: five jobs, each with the plain loop that its wall time is compared with."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs

from benchmarks.large_wordcount import variations

Pair = tuple[Any, Any]
Function = Callable[[Any, Any], Iterable[Pair]]

ROW_CHARS = 64 << 10
CPU_S = 0.02


@attrs.frozen(kw_only=True)
class Workload:
    """A job and how it is shown.

    ``baseline`` is the plain loop that counts as 1, ``plain`` is the one in the first column, and ``parts`` is the
    number of tasks that the peers cut the job into. With a ``unit``, times are shown in that unit, divided by
    ``shares``; otherwise as ratios. ``aims`` are by column.
    """

    name: str
    title: str
    rows: Sequence[Pair]
    mapper: Function
    reducer: Function
    combiner: Function | None = None
    baseline: Callable[[Sequence[Pair]], dict[Any, Any]]
    plain: Callable[[Sequence[Pair]], dict[Any, Any]]
    parts: int = 8
    row_a_task: bool = False
    unit: str = ""
    shares: int = 1
    aims: Mapping[str, float]

    @property
    def functions(self) -> dict[str, Function | None]:
        """The job's functions by role."""
        return {"mapper": self.mapper, "reducer": self.reducer, "combiner": self.combiner}

    def cut(self) -> list[Sequence[Pair]]:
        """Return the rows in as many parts as the peers get."""
        step = -(-len(self.rows) // self.parts)
        return [self.rows[start : start + step] for start in range(0, len(self.rows), step)]


# --- the functions --------------------------------------------------------------------------------------------------


def burn(number: int, steps: int) -> Iterable[Pair]:
    """Keep a processor busy for ``steps`` steps."""
    state = number
    for _ in range(steps):
        state = (state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
    yield number, state


def first(key: Any, values: Sequence[Any]) -> Iterable[Pair]:
    """Yield the only value of a key."""
    yield key, values[0]


def count_in_row(_name: Any, text: str) -> Iterable[Pair]:
    """Count a row's words in the mapper."""
    return Counter(text.split()).items()


def each_word(_name: Any, text: str) -> Iterable[Pair]:
    """Yield a pair for each word."""
    for word in text.split():
        yield word, 1


def add_up(word: Any, counts: Sequence[int]) -> Iterable[Pair]:
    """Add up a key's values."""
    yield word, sum(counts)


def tiny(key: int, value: int) -> Iterable[Pair]:
    """Do next to nothing."""
    yield key % 10, value


# --- the plain loops ------------------------------------------------------------------------------------------------


def burn_all(rows: Sequence[Pair]) -> dict[Any, Any]:
    """Compute one row after another."""
    return {key: value for row in rows for key, value in burn(*row)}


def count_all(rows: Sequence[Pair]) -> dict[Any, Any]:
    """Count all words in one loop."""
    counts: Counter[str] = Counter()
    for _, text in rows:
        counts.update(text.split())
    return dict(counts)


def group_all(rows: Sequence[Pair]) -> dict[Any, Any]:
    """Do what MapReduce without a combiner does: a pair for each word, grouped by word, then added up."""
    groups: defaultdict[Any, list[int]] = defaultdict(list)
    for row in rows:
        for key, value in each_word(*row):
            groups[key].append(value)
    return {key: total for word, counts in groups.items() for key, total in add_up(word, counts)}


def add_tiny(rows: Sequence[Pair]) -> dict[Any, Any]:
    """Add up tiny rows."""
    sums: defaultdict[int, int] = defaultdict(int)
    for row in rows:
        for key, value in tiny(*row):
            sums[key] += value
    return dict(sums)


# --- the jobs -------------------------------------------------------------------------------------------------------


def words_of(size_bytes: int) -> list[Pair]:
    """Return rows of ``size_bytes`` in total: the words of the standard library's sources, in order."""
    rows: list[Pair] = []
    words = re.compile(r"[A-Za-z]+")
    for text in _chunks(" ".join(words.findall(text)) for text in variations()):
        if len(rows) * ROW_CHARS >= size_bytes:
            return rows
        rows.append((f"chunk-{len(rows):05}", text))
    raise AssertionError


def _chunks(texts: Iterable[str]) -> Iterable[str]:
    rest = ""
    for text in texts:
        rest = f"{rest} {text}"
        while len(rest) >= ROW_CHARS:
            yield rest[:ROW_CHARS]
            rest = rest[ROW_CHARS:]


def steps_for(seconds: float) -> int:
    """Return how many steps keep a processor of this machine busy for ``seconds``."""
    steps = 100_000
    took = []
    for _ in range(5):
        began = time.perf_counter()
        list(burn(1, steps))
        took.append(time.perf_counter() - began)
    return round(steps * seconds / min(took))


def workloads(*, quick: bool) -> list[Workload]:
    """Return the workloads, with smaller jobs if ``quick``."""
    cpu_tasks, large_mib, small_mib, single = (40, 4, 1, 50) if quick else (200, 64, 8, 500)
    text = words_of(large_mib << 20)
    small = list(islice(text, (small_mib << 20) // ROW_CHARS))
    steps = steps_for(CPU_S)
    numbers = [(number, number) for number in range(2000)]
    return [
        Workload(
            name="cpu",
            title=f"{cpu_tasks} CPU tasks of {CPU_S * 1e3:.0f} ms",
            rows=[(number, steps) for number in range(cpu_tasks)],
            mapper=burn,
            reducer=first,
            baseline=burn_all,
            plain=burn_all,
            aims={"majority:3": 1.70, "quorum:2": 1.15, "none": 0.60},
        ),
        Workload(
            name="words",
            title=f"word count {large_mib} MiB, summed where mapped",
            rows=text,
            mapper=count_in_row,
            reducer=add_up,
            combiner=add_up,
            baseline=count_all,
            plain=count_all,
            aims={"majority:3": 2.1, "quorum:2": 1.6, "none": 1.0},
        ),
        Workload(
            name="pairs",
            title=f"word count {small_mib} MiB, no combiner",
            rows=small,
            mapper=each_word,
            reducer=add_up,
            baseline=count_all,
            plain=group_all,
            aims={"majority:3": 6, "quorum:2": 4.5, "none": 3},
        ),
        Workload(
            name="tiny",
            title="2,000 tiny rows, warm system, whole job",
            rows=numbers,
            mapper=tiny,
            reducer=add_up,
            baseline=add_tiny,
            plain=add_tiny,
            unit="ms",
            aims={"majority:3": 150, "quorum:2": 120, "none": 50},
        ),
        Workload(
            name="single",
            title=f"{single} tasks of one row each, wall time per task",
            rows=numbers[:single],
            mapper=tiny,
            reducer=add_up,
            baseline=add_tiny,
            plain=add_tiny,
            parts=single,
            row_a_task=True,
            unit="ms",
            shares=single,
            aims={"majority:3": 6, "quorum:2": 4, "none": 2.5},
        ),
    ]
