"""Jobs one after the other, on workers of which one is slow: what it has not begun does not outlive its use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import attrs
import pytest

from ec262.adapters.entropy import SystemEntropy
from ec262.adapters.runtime import local_python
from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.domain.commands import PoolQuery, Requirement
from ec262.domain.job import Computed, Limits, Work
from ec262.domain.runtime import RuntimeClass
from tests.system import FOREMAN_POLICY, System, make_job, memory_system

SLOW_S = 0.2


class Slow:
    """A sandbox that takes its time, and counts what it has begun."""

    def __init__(self) -> None:
        self._inner = UnconfinedSandbox()
        self.begun = 0

    @property
    def runtime(self) -> RuntimeClass:
        return self._inner.runtime

    async def start(self) -> None:
        await self._inner.start()

    async def run(self, work: Work, limits: Limits) -> Computed:
        self.begun += 1
        await asyncio.sleep(SLOW_S)
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


async def all_slots_are_free(system: System, slots: int) -> None:
    query = PoolQuery(requirement=Requirement(python=local_python()))
    while (await system.foreman_discovery.pool(query)).slots < slots:  # noqa: ASYNC110 - discovery has no such event
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("workers", [3, 4])
async def test_a_slow_worker_begins_nothing_that_was_won_without_it(workers: int) -> None:
    slow = Slow()
    async with memory_system(workers=workers, slots=1, sandboxes={0: slow}, look_s=0.02) as system:
        for _ in range(2):
            await run_job(system)
        begun = slow.begun
        assert begun < 40 / 2  # of 40 tasks and more, nearly all were won by the others
        async with asyncio.timeout(30):
            await all_slots_are_free(system, workers)
        # It ends what it has in its sandbox, and perhaps begins one task that was won since it looked.
        assert slow.begun <= begun + 1
