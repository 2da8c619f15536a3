"""What the Linux sandbox costs, compared with the same work in this process in the same run.

    python benchmarks/sandbox_cost.py

Ratios are comparable across machines, milliseconds are not. Each figure is the median of several runs. Only root can
measure the memory of many children.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import cloudpickle

from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.adapters.sandbox.linux.conversation import converse
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.adapters.sandbox.linux.offspring import RequestedChild
from ec262.adapters.sandbox.linux.zygote import ZygoteProcess
from ec262.domain.ports.sandbox import Sandbox
from ec262.domain.values import canonical
from ec262.domain.work.work import Limits, Phase, Work

LIMITS = Limits()
CALLS = 20_000
SLOTS = 100


def trivial(key: Any, value: Any) -> Iterable[tuple[Any, Any]]:
    """Do next to nothing."""
    return [(key, value)]


def busy(key: Any, value: int) -> Iterable[tuple[Any, Any]]:
    """Keep a processor busy with arithmetic, calls and small objects; yield the seconds of processor time that it
    took."""
    started = time.process_time()
    table: dict[int, int] = {}
    number = 262
    for step in range(value):
        number = (number * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        table[number & 0xFFFF] = table.get(number & 0xFFFF, 0) + len(str(step))
    yield key, time.process_time() - started


def work(mapper: Callable[..., Any], rows: list[list[Any]]) -> Work:
    """Return a map task."""
    return Work(phase=Phase.MAP, functions=cloudpickle.dumps({"mapper": mapper}), rows=canonical.encode(rows), seed=0)


async def measure(times: int, act: Callable[[], Awaitable[Any]]) -> float:
    """Return the median seconds that something takes."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        await act()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


async def start_bare() -> None:
    """Start an interpreter that does nothing, and wait for it to end."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "", stdin=subprocess.DEVNULL)
    await process.wait()


async def start_zygote() -> None:
    """Start and end a zygote. Ending it takes some milliseconds, which are included."""
    await (await ZygoteProcess.start((), timeout_s=30)).close()


async def to_first_call(zygote: ZygoteProcess) -> tuple[float, float]:
    """Return the seconds from asking for a child until it has read its task and calls its first function, and the
    seconds that the latter takes if the child has been ready for a while."""

    def report_now(_key: Any, _value: Any) -> Iterable[tuple[Any, Any]]:
        return [("now", time.perf_counter())]  # one clock for all processes of a machine

    async def first_call(child: RequestedChild) -> float:
        computed = await converse(child, task, LIMITS)
        child.kill()
        return float(canonical.decode(computed.outcome)[1][0][1])

    task = work(report_now, [[0, 0]])
    started = time.perf_counter()
    in_all = await first_call(await zygote.fork(LIMITS)) - started
    waiting = await zygote.fork(LIMITS)
    await asyncio.sleep(0.02)
    started = time.perf_counter()
    return in_all, await first_call(waiting) - started


async def by_turns(sandbox: Sandbox, bare: Sandbox, act: Callable[[Sandbox], Awaitable[float]]) -> list[float]:
    """Return the median seconds of an action in two sandboxes that take turns: a slow moment affects both."""
    pairs = [[await act(box) for box in (sandbox, bare)] for _ in range(9)]
    return [statistics.median(column) for column in zip(*pairs, strict=True)]


async def call_in_batch(box: Sandbox) -> float:
    """Return the seconds of one call among many in a task: its share of the whole task."""
    task = work(trivial, [[number, 0] for number in range(CALLS)])
    return await measure(1, lambda: box.run(task, LIMITS)) / CALLS


async def processor_time(box: Sandbox) -> float:
    """Return the seconds of processor time that the busy job takes."""
    computed = await box.run(work(busy, [[0, 1_000_000]]), LIMITS)
    return float(canonical.decode(computed.outcome)[1][0][1])


async def memory(sandbox: LinuxSandbox, zygote: ZygoteProcess) -> tuple[float, float]:
    """Return the MiB of memory, counting shared pages once, of a zygote alone and with many tasks running."""

    def wait(_key: Any, _value: Any) -> None:
        time.sleep(60)

    leader = zygote._process.pid  # noqa: SLF001 - the object of the measurement
    alone = proportional_mib(leader)
    tasks = [asyncio.create_task(sandbox.run(work(wait, [[0, 0]]), LIMITS)) for _ in range(SLOTS)]
    await asyncio.sleep(3)
    together = proportional_mib(leader)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return alone, together


def proportional_mib(leader: int) -> float:
    """Return the memory of a session's processes, with each shared page divided among its users."""
    total = 0
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if os.getsid(int(folder.name)) == leader:
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def show(what: str, sandboxed_s: float, bare_s: float, *, of: str) -> None:
    """Print one line."""
    print(f"{what:34} {sandboxed_s * 1e3:10.3f} ms {sandboxed_s / bare_s:8.2f} x {of} ({bare_s * 1e3:.3f} ms)")


async def main() -> None:
    """Measure and print."""
    bare: Sandbox = UnconfinedSandbox()
    sandbox = LinuxSandbox()
    await start_zygote()
    show("zygote, started and ended", await measure(7, start_zygote), await measure(7, start_bare), of="bare Python")
    await sandbox.start()
    print(*sandbox.layers, sep="\n")
    zygote = sandbox._zygote  # noqa: SLF001 - the object of the measurement
    assert zygote is not None
    one = work(trivial, [[0, 0]])
    bare_one = await measure(200, lambda: bare.run(one, LIMITS))
    both = [await to_first_call(zygote) for _ in range(100)]
    in_all, in_waiting = (statistics.median(column) for column in zip(*both, strict=True))
    show("fork to ready", in_all - in_waiting, bare_one, of="a task in-process")
    show("fork to first call", in_all, bare_one, of="a task in-process")
    show("task of one row", await measure(100, lambda: sandbox.run(one, LIMITS)), bare_one, of="a task in-process")
    show("call, in a batch", *await by_turns(sandbox, bare, call_in_batch), of="in-process")
    show("processor time of a busy task", *await by_turns(sandbox, bare, processor_time), of="in-process")
    alone, together = await memory(sandbox, zygote)
    if alone:
        each = (together - alone) / SLOTS
        print(f"{'memory':34} {alone:10.1f} MiB without a task, {together:.1f} MiB with {SLOTS}: {each:.2f} MiB each")
    await sandbox.close()


if __name__ == "__main__":
    asyncio.run(main())
