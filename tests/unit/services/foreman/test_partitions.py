"""Rows that are cut when workers are ready for them."""

from __future__ import annotations

import asyncio

import pytest

from ec262.domain.foreman.data.sizing import TimedCut
from ec262.domain.work.work import Phase, TaskName
from ec262.services.foreman.data import partitions
from ec262.services.foreman.data.partitions import Partitions

SIZES = [10] * 1000


def names(*indices: int) -> tuple[TaskName, ...]:
    return tuple(TaskName(phase=Phase.MAP, index=index) for index in indices)


class Sized:
    """Partitions that are cut by time, and the names of tasks that they told of."""

    def __init__(self, *, hold: bool = False) -> None:
        timed = TimedCut(SIZES, at_once=1, most_tasks=10_000, most_bytes=1 << 20, most_result_bytes=1 << 26, hold=hold)
        self.told: list[TaskName] = []
        self.parts = Partitions(Phase.MAP)
        self.first = self.parts.cut_by_time(timed, self.told.extend)


async def test_known_partitions_are_not_cut_again() -> None:
    parts = Partitions(Phase.MAP)
    assert parts.cut(SIZES, 2) == names(0, 1)
    assert await parts.pieces_for(1) == parts[1] == range(500, 1000)
    parts.took(1, 0.01)
    parts.yielded(1, 10)
    parts.computed(1)
    assert (await parts.pieces_for(0), parts.tasks_to_come) == (range(500), 0)
    assert Partitions(Phase.REDUCE).cut([], 0) == ()


async def test_the_first_ready_worker_gets_the_first_rows_and_keeps_them() -> None:
    sized = Sized()
    assert sized.first == names(0, 1)
    assert await sized.parts.pieces_for(1) == range(31)
    assert await sized.parts.pieces_for(0) == range(31, 62)
    assert await sized.parts.pieces_for(1) == range(31)
    assert tuple(sized.told) == names(2, 3)
    assert sized.parts.tasks_to_come > 10


async def test_measured_times_make_the_next_tasks_larger() -> None:
    sized = Sized()
    await sized.parts.pieces_for(0)
    sized.parts.took(0, 0.001)
    sized.parts.yielded(0, 100)
    assert await sized.parts.pieces_for(1) == range(31, 1000)
    assert (sized.told, sized.parts.tasks_to_come) == ([], 0)


async def test_a_worker_waits_for_the_times_of_others() -> None:
    sized = Sized(hold=True)
    await sized.parts.pieces_for(0)
    waiting = asyncio.create_task(sized.parts.pieces_for(1))
    gone = asyncio.create_task(sized.parts.pieces_for(1))
    await asyncio.sleep(0)
    gone.cancel()
    assert not waiting.done()
    sized.parts.took(0, 93.0)  # three seconds a row, which is what a task should take there
    assert await waiting == range(31, 32)
    assert gone.cancelled()


async def test_a_worker_waits_no_longer_than_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "PATIENCE_S", 0.01)
    sized = Sized(hold=True)
    await sized.parts.pieces_for(0)
    assert await sized.parts.pieces_for(1) == range(31, 62)
    assert tuple(sized.told) == names(2)
