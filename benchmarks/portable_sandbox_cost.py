"""What the portable sandbox costs, compared with the same work in this process in the same run.

    python -m benchmarks.portable_sandbox_cost

Run it from the project's root. Ratios are comparable across machines, milliseconds are not. Each figure is the median
of several runs. A guest's own clock counts its work and not time, so everything is timed from outside.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.sandbox_cost import LIMITS, by_turns, call_in_batch, measure, show, trivial, work
from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.adapters.sandbox.wasm.wasm_sandbox import WasmSandbox
from ec262.domain.ports.sandbox import Sandbox

Pair = tuple[Any, Any]


def arithmetic(key: Any, steps: int) -> Iterable[Pair]:
    """Add and multiply small integers."""
    number = total = 0
    for _ in range(steps):
        number = (number * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        total += number & 0xFF
    yield key, total


def calls(key: Any, depth: int) -> Iterable[Pair]:
    """Call functions."""

    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)  # noqa: PLR2004 - the definition

    yield key, fibonacci(depth)


def words(key: Any, times: int) -> Iterable[Pair]:
    """Split text and count words."""
    counts: dict[str, int] = {}
    for _ in range(times):
        for word in ("to be or not to be that is the question " * 100).split():
            counts[word] = counts.get(word, 0) + 1
    yield key, len(counts)


def floats(key: Any, steps: int) -> Iterable[Pair]:
    """Calculate with floats."""
    number = 0.1
    for _ in range(steps):
        number = 3.7 * number * (1 - number)
    yield key, number


def in_c(key: Any, times: int) -> Iterable[Pair]:
    """Sort, hash, and write and read JSON: what CPython does in C."""
    values = [str(number * 7919 % 10007) for number in range(2000)]
    for _ in range(times):
        hashlib.sha256(json.dumps(sorted(values)).encode()).digest()
        json.loads(json.dumps(values))
    yield key, times


JOBS: dict[str, tuple[Callable[..., Any], int]] = {
    "integers": (arithmetic, 2_000_000),
    "function calls": (calls, 25),
    "words": (words, 500),
    "floats": (floats, 2_000_000),
    "C code": (in_c, 150),
}


async def compute(box: Sandbox, mapper: Callable[..., Any], size: int, overhead_s: float) -> float:
    """Return the seconds that a job takes in a sandbox, less the overhead of every task."""
    return await measure(1, lambda: box.run(work(mapper, [[0, size]]), LIMITS)) - overhead_s


async def one_after_another(box: Sandbox, tasks: int) -> float:
    """Return the seconds per task while there is always a next one."""
    one = work(trivial, [[0, 0]])
    started = time.perf_counter()
    for _ in range(tasks):
        await box.run(one, LIMITS)
    return (time.perf_counter() - started) / tasks


async def with_a_pause(box: Sandbox, tasks: int) -> float:
    """Return the median seconds of a task for which a process is already waiting."""
    one = work(trivial, [[0, 0]])
    taken = []
    for _ in range(tasks):
        await asyncio.sleep(0.4)
        taken.append(await measure(1, lambda: box.run(one, LIMITS)))
    return statistics.median(taken)


def memory_of(process: int) -> str:
    """Describe a process's private memory, and all of its resident memory."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:])
    own_kib = sum(int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))
    return f"{own_kib / 1024:.0f} MiB private, {int(fields['Rss'].split()[0]) / 1024:.0f} MiB including shared pages"


async def main() -> None:
    """Measure and print."""
    bare: Sandbox = UnconfinedSandbox()
    box = WasmSandbox()
    started = time.perf_counter()
    await box.start()
    print(f"start (slow the first time on a machine): {time.perf_counter() - started:.2f} s ({box.layers[0].detail})")
    one = work(trivial, [[0, 0]])
    bare_one = await measure(200, lambda: bare.run(one, LIMITS))
    show("task of one row, process waiting", await with_a_pause(box, 9), bare_one, of="a task in-process")
    show("task of one row, one after another", await one_after_another(box, 20), bare_one, of="a task in-process")
    show("call, in a batch", *await by_turns(box, bare, call_in_batch), of="in-process")
    overhead = {id(box): await one_after_another(box, 10), id(bare): bare_one}
    for name, (mapper, size) in JOBS.items():
        seconds = await by_turns(
            box,
            bare,
            lambda it, mapper=mapper, size=size: compute(it, mapper, size, overhead[id(it)]),  # type: ignore[misc]  # defaults bind the loop's variables
        )
        show(name, *seconds, of="in-process")
    await asyncio.sleep(0.5)
    assert box._spare is not None  # noqa: SLF001 - the object of the measurement
    print(f"memory of a waiting process: {memory_of(box._spare._process.pid)}")  # noqa: SLF001 - likewise
    await box.close()


if __name__ == "__main__":
    asyncio.run(main())
