"""Jobs one after the other, on workers of which one is slow: what it has not begun does not outlive its use."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import attrs
import pytest

from ec262.adapters.machine.system_entropy import SystemEntropy
from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.domain.work.runtime import RuntimeClass
from ec262.domain.work.work import Computed, Limits, Work
from tests.system import FOREMAN_POLICY, System, make_job, memory_system


class Slow:
    """A sandbox that ends no task before it is let, and counts what it has begun."""

    def __init__(self) -> None:
        self._inner = UnconfinedSandbox()
        self.begun = 0
        self.let = asyncio.Event()

    @property
    def runtime(self) -> RuntimeClass:
        return self._inner.runtime

    async def start(self) -> None:
        await self._inner.start()

    async def run(self, work: Work, limits: Limits) -> Computed:
        self.begun += 1
        await self.let.wait()
        return await self._inner.run(work, limits)

    async def close(self) -> None:
        await self._inner.close()


def halves(number: int, value: int) -> Iterable[tuple[int, int]]:
    yield number % 2, value


def add_up(key: int, values: Iterable[int]) -> Iterable[tuple[int, int]]:
    yield key, sum(values)


async def run_job(system: System) -> None:
    run = attrs.evolve(FOREMAN_POLICY.run, patience_s=30.0)
    job = make_job(dict.fromkeys(range(20), 1), {"mapper": halves, "reducer": add_up, "combiner": None})
    foreman = system.foreman(attrs.evolve(FOREMAN_POLICY, run=run, deadline_s=60.0), entropy=SystemEntropy())
    assert await foreman.run(attrs.evolve(job, map_tasks=20)) == {0: 10, 1: 10}


async def replicas_left(system: System, count: int) -> None:
    """Return when so many replicas are neither committed nor given up."""
    while True:
        with system.service._unit_of_work() as uow:
            taken = Counter(uow.tasks.busy(asyncio.get_running_loop().time())) + Counter(uow.tasks.late())
        if taken.total() == count:
            return
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("workers", [3, 4])
async def test_a_slow_worker_begins_nothing_that_was_won_without_it(workers: int) -> None:
    slow = Slow()
    async with memory_system(workers=workers, slots=1, sandboxes={0: slow}, look_s=0.02) as system:
        for _ in range(2):
            await run_job(system)
        assert slow.begun == 1  # of 40 tasks and more: the others won them
        async with asyncio.timeout(30):
            await replicas_left(system, 1)
            slow.let.set()
            await replicas_left(system, 0)
        assert slow.begun == 1
