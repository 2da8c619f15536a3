"""Whole jobs whose map tasks are sized by time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest

from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.domain.protocol.messages import Committed
from ec262.domain.values import canonical
from ec262.domain.work.work import Computed, Limits, Phase, Work
from ec262.services.foreman.foreman import Foreman
from ec262.services.foreman.workers.worker_link import WorkerLink
from tests.system import FOREMAN_POLICY, make_job, memory_system

ROWS = 600


class Paced(UnconfinedSandbox):
    """Takes as long over a row as its value says, in seconds."""

    async def run(self, work: Work, limits: Limits) -> Computed:
        if work.phase is Phase.MAP:
            await asyncio.sleep(sum(pause_s for _, pause_s in canonical.decode(work.rows)))
        return await super().run(work, limits)


def row_by_tens(number: int, _pause_s: float) -> Iterator[tuple[int, int]]:
    yield number % 10, number


def in_order(key: int, numbers: list[int]) -> Iterator[tuple[int, Any]]:
    yield key, list(numbers)


FUNCTIONS = {"mapper": row_by_tens, "reducer": in_order, "combiner": None}
EXPECTED = {tens: list(range(tens, ROWS, 10)) for tens in range(10)}
"""Values of a key are in the order of the data: any task in the wrong place would show."""


def rows(**slow: float) -> Mapping[int, float]:
    return {number: slow.get(f"n{number % 100}", 0.0) for number in range(ROWS)}


async def map_tasks(foreman: Foreman) -> int:
    return sum(task.name.phase is Phase.MAP for task in await foreman.history())


@pytest.mark.parametrize("slots", [None, 2])
async def test_the_result_is_the_same_however_tasks_are_sized(slots: int | None) -> None:
    async with memory_system() as system:
        foreman = system.foreman(attrs.evolve(FOREMAN_POLICY, slots=slots))
        assert await foreman.run(make_job(rows(), FUNCTIONS)) == EXPECTED
        sized = await map_tasks(foreman)
        job = make_job(rows(), FUNCTIONS)
        assert await foreman.run(attrs.evolve(job, map_tasks=7)) == EXPECTED
        assert await map_tasks(foreman) == 7
    assert 2 <= sized <= 12


async def test_rows_that_take_long_make_small_tasks_and_the_purse_limits_them() -> None:
    job = make_job(rows(n7=0.2, n57=0.2), FUNCTIONS)
    paced = {number: Paced() for number in range(3)}
    counts = []
    for purse in (1000, 30):
        async with memory_system(workers=3, slots=1, credits=purse, sandboxes=paced) as system:
            foreman = system.foreman()
            assert await foreman.run(job) == EXPECTED
            counts.append(await map_tasks(foreman))
    assert counts[0] >= 4
    assert counts[1] <= 6


@pytest.mark.parametrize("lie", [0.0, 1e12])
async def test_results_are_right_whatever_times_workers_report(lie: float, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = WorkerLink.compute

    async def lying(link: WorkerLink, *arguments: Any, **named: Any) -> Any:
        reply = await compute(link, *arguments, **named)
        return attrs.evolve(reply, took_s=lie) if isinstance(reply, Committed) else reply

    monkeypatch.setattr(WorkerLink, "compute", lying)
    async with memory_system() as system:
        foreman = system.foreman()
        assert await foreman.run(make_job(rows(), FUNCTIONS)) == EXPECTED
        assert await map_tasks(foreman) < 30


async def test_the_bar_knows_about_how_many_tasks_are_to_come() -> None:
    totals: list[int] = []

    class Totals:
        """A Progress that writes down how many tasks there are said to be."""

        def show(self, status: Any) -> None:
            if status.phase is Phase.MAP:
                assert status.done <= status.total
                totals.append(status.total)

        def close(self) -> None: ...

    async with memory_system() as system:
        foreman = system.foreman(progress=Totals())
        await foreman.run(make_job(rows(), FUNCTIONS))
    assert totals[0] > totals[-1] == await map_tasks(foreman)
