"""What makes jobs differ between machines, in the real sandbox: each is found, and its cause is told right."""

# Jobs tell the time, and by every way there is; a lambda travels by value where a function would by name.
# ruff: noqa: DTZ001, DTZ002, DTZ003, DTZ005, DTZ007, DTZ011, PLW0108

from __future__ import annotations

import os
import random
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import date, datetime
from typing import Any

import attrs
import pytest
import pytest_asyncio

from ec262.adapters.jobs.local_runtime import local_python
from ec262.adapters.jobs.variation import vary
from ec262.adapters.jobs.watching import watch
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.domain.foreman.data.partition import encode_row
from ec262.domain.foreman.data.row_spool import held
from ec262.domain.foreman.job.determinism import (
    ADDRESSES,
    CAUSES,
    CLOCK_SHIFT_S,
    Circumstances,
    PhaseCheck,
    packing_cause,
)
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.work.work import Limits
from ec262.services.foreman.determinism_check import DeterminismCheck
from tests.sandbox_jobs import LIMITS, map_work, pairs_of, pickled

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox needs Linux"),
    pytest.mark.asyncio(loop_scope="module"),
]

CHANCE, CLOCK, HASHES = CAUSES
WORDS = ("alpha", "beta", "gamma", "delta")

Pair = tuple[Any, Any]


class Thing:
    def __init__(self, number: int) -> None:
        self.number = number


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandboxes() -> AsyncIterator[dict[int, LinuxSandbox]]:
    boxes = {seed: LinuxSandbox(hash_seed=seed) for seed in (0, 1)}
    for box in boxes.values():
        await box.start()
    yield boxes
    for box in boxes.values():
        await box.close()


def collect(key: Any, values: tuple[Any, ...]) -> Iterable[Pair]:
    yield key, list(values)


async def checked(
    boxes: dict[int, LinuxSandbox],
    mapper: Callable[..., Any],
    reducer: Callable[..., Any] = collect,
    rows: int = 12,
    combiner: Callable[..., Any] | None = None,
) -> tuple[PhaseCheck, PhaseCheck]:
    data = [encode_row(number, number % 5) for number in range(rows)]
    job = Job(
        functions=pickled(mapper=mapper, reducer=reducer, combiner=combiner),
        rows=held(data),
        requirement=Requirement(python=local_python()),
    )
    mapped, reduced = await DeterminismCheck(boxes, vary, watch, Limits(cpu_s=20, wall_s=20)).run(job, data)
    return mapped, reduced


@pytest.mark.parametrize(
    "value",
    [
        lambda: random.random(),
        lambda: sorted({"a", "b", "c"}),
        lambda: dict.fromkeys(set(WORDS), 1),
        lambda: (time.time() > 0, datetime.now() > datetime(2001, 1, 1), isinstance(datetime.now(), datetime)),
        lambda: datetime.strptime("2012-05-06", "%Y-%m-%d").date().isoformat(),
        lambda: [thing.number for thing in sorted({Thing(2), Thing(1)}, key=lambda thing: thing.number)],
        lambda: uuid.uuid5(uuid.NAMESPACE_DNS, "ec262").hex,
        lambda: random.Random(262).random(),
    ],
)
async def test_values_that_are_the_same_everywhere_are_not_suspected(
    sandboxes: dict[int, LinuxSandbox], value: Callable[[], Any]
) -> None:
    mapped, reduced = await checked(sandboxes, lambda key, group: [(group, value())])
    assert (mapped.finding, reduced.finding) == (None, None)


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (lambda: time.time(), CLOCK),
        (lambda: date.today().isoformat(), CLOCK),
        (lambda: datetime.now().isoformat(), CLOCK),
        (lambda: time.perf_counter_ns(), CLOCK),
        (lambda: list(set(WORDS)), HASHES),
        (lambda: ",".join(frozenset(WORDS)), HASHES),
        (lambda: repr(Thing(1)), ADDRESSES),
        (lambda: [thing.number for thing in {Thing(number) for number in range(20)}], ADDRESSES),
        (lambda: os.urandom(8), CHANCE),
        (lambda: uuid.uuid4().hex, CHANCE),
        (lambda: random.SystemRandom().random(), CHANCE),
        (lambda: random.Random().random(), CHANCE),
        (lambda: os.getpid(), CHANCE),
    ],
)
async def test_causes(sandboxes: dict[int, LinuxSandbox], value: Callable[[], Any], cause: Any) -> None:
    mapped, reduced = await checked(sandboxes, lambda key, group: [(group, value() if key == 7 else 0)])
    assert mapped.finding is not None
    assert mapped.finding.row == "7"
    assert mapped.finding.causes == (cause.told,)
    assert reduced.finding is None


async def test_a_reducer_is_found_too(sandboxes: dict[int, LinuxSandbox]) -> None:
    def add_up(key: int, values: tuple[float, ...]) -> Iterable[Pair]:
        total = 0.0
        for text in {f"{key} {number}" for number in values}:
            total += 0.1 * int(text.split()[1])
        yield key, total

    mapped, reduced = await checked(
        sandboxes, lambda key, group: [(group, number) for number in range(20)], add_up, rows=5
    )
    assert mapped.finding is None
    assert reduced.finding is not None
    assert reduced.finding.causes == (HASHES.told,)
    assert "--round-floats 12" in reduced.finding.difference.hint


RNG = random.Random(42)
SEEN: list[int] = []


class Counter:
    total = 0

    def __init__(self) -> None:
        self.own = 0

    def count(self, key: int, group: int) -> Iterable[Pair]:
        self.own += 1
        yield group, self.own


def from_a_generator(_key: int, group: int) -> Iterable[Pair]:
    yield group, RNG.random()


def by_a_helper(_key: int, group: int) -> Iterable[Pair]:
    yield group, noted(group)


def noted(group: int) -> int:
    SEEN.append(group)
    return len(SEEN)


def in_a_class(_key: int, group: int) -> Iterable[Pair]:
    Counter.total += 1
    yield group, Counter.total


def in_a_default(key: int, group: int, cache: dict[int, int] = {}) -> Iterable[Pair]:  # noqa: B006 - as authors do
    cache[key] = group
    yield group, len(cache)


def in_a_closure() -> Callable[..., Any]:
    last = 0

    def mapper(key: int, group: int) -> Iterable[Pair]:
        nonlocal last
        last += key
        yield group, last

    return mapper


@pytest.mark.parametrize(
    ("mapper", "state"),
    [
        (from_a_generator, "the global 'RNG' (random.Random)"),
        (by_a_helper, "the global 'SEEN' (list)"),
        (in_a_class, "the attribute 'total' of Counter (int)"),
        (in_a_default, "default value 1 of in_a_default (dict)"),
        (in_a_closure(), "the variable 'last' around mapper (int)"),
        (Counter().count, f"the object of the method count ({__name__}.Counter)"),
    ],
)
async def test_state_that_one_row_leaves_for_the_next_is_found_and_named(
    sandboxes: dict[int, LinuxSandbox], mapper: Callable[..., Any], state: str
) -> None:
    mapped, reduced = await checked(sandboxes, mapper)
    assert mapped.finding is not None
    assert mapped.finding.causes == (packing_cause([state]),)
    assert reduced.finding is None


async def test_state_of_a_reducer_is_found_too(sandboxes: dict[int, LinuxSandbox]) -> None:
    def reducer(key: int, _values: tuple[int, ...]) -> Iterable[Pair]:
        yield key, RNG.random()

    mapped, reduced = await checked(sandboxes, lambda key, group: [(group, key)], reducer)
    assert mapped.finding is None
    assert reduced.finding is not None
    assert reduced.finding.causes == (packing_cause(["the global 'RNG' (random.Random)"]),)


async def test_a_cache_that_changes_no_result_is_not_suspected(sandboxes: dict[int, LinuxSandbox]) -> None:
    def mapper(key: int, group: int) -> Iterable[Pair]:
        SEEN.append(key)
        yield group, key

    mapped, reduced = await checked(sandboxes, mapper)
    assert (mapped.finding, reduced.finding) == (None, None)


@pytest.mark.parametrize(
    ("combine", "guilty"), [(lambda values: sum(values) / len(values), True), (sum, False)], ids=["mean", "sum"]
)
async def test_a_combiner_must_not_mind_how_values_are_grouped(
    sandboxes: dict[int, LinuxSandbox], combine: Callable[..., Any], guilty: object
) -> None:
    def combined(key: int, values: tuple[float, ...]) -> Iterable[Pair]:
        yield key, combine(values)

    mapped, _ = await checked(sandboxes, lambda key, group: [(group % 2, key)], combined, combiner=combined)
    assert (mapped.finding is not None) is bool(guilty)


async def test_the_clock_is_ahead_by_all_ways_to_tell_it(sandboxes: dict[int, LinuxSandbox]) -> None:
    def clocks(_key: Any, _value: Any) -> Iterable[Pair]:
        yield "time", time.time()
        yield "time_ns", time.time_ns() / 1e9
        yield "now", datetime.now().timestamp()
        yield "utcnow", datetime.utcnow().timestamp()
        yield "localtime", time.mktime(time.localtime())
        yield "gmtime", time.mktime(time.gmtime())
        yield "ctime", time.mktime(time.strptime(time.ctime()))
        yield "strftime", time.mktime(time.strptime(time.strftime("%Y-%m-%d %H:%M:%S"), "%Y-%m-%d %H:%M:%S"))
        yield "today, too", datetime.today().timestamp()
        yield "today", (date.today() - date(1970, 1, 1)).days * 86_400

    work = map_work(clocks)
    ahead = attrs.evolve(work, functions=vary(work.functions, Circumstances(clock_shift_s=CLOCK_SHIFT_S)))
    told, shifted = [dict(pairs_of(await sandboxes[0].run(each, LIMITS))) for each in (work, ahead)]
    for name, seconds in told.items():
        assert shifted[name] - seconds == pytest.approx(CLOCK_SHIFT_S, abs=86_400 if name == "today" else 10), name


async def test_where_nothing_varies_the_functions_are_themselves() -> None:
    assert vary(b"functions", Circumstances(hash_seed=1)) == b"functions"
