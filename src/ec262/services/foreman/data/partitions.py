"""The partitions of a phase: known from the start, or cut by time as workers are ready for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from ec262.domain.foreman.data.partition import split
from ec262.domain.foreman.data.sizing import TimedCut
from ec262.domain.work.work import Phase, TaskName

PATIENCE_S = 1.0
"""How long a worker that is ready waits for others' times, before it is sent rows without."""

Grow = Callable[[tuple[TaskName, ...]], None]
"""Takes the names of more tasks."""


class Partitions:
    """Which of a phase's pieces belong to which of its tasks, by the tasks' indices."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase
        self._pieces: dict[int, range] = {}
        self._named = 0
        self._timed: tuple[TimedCut, Grow] | None = None
        self._timing = asyncio.Event()

    def cut(self, sizes: Sequence[int], tasks: int) -> tuple[TaskName, ...]:
        """Cut pieces of these sizes (bytes) into so many partitions; return their tasks' names."""
        self._pieces = dict(enumerate(split(sizes, tasks) if tasks else []))
        return self._names(len(self._pieces))

    def cut_by_time(self, timed: TimedCut, grow: Grow) -> tuple[TaskName, ...]:
        """Return the names of the first tasks; give those of the others to ``grow`` as they come to be known."""
        self._timed = timed, grow
        return self._names(timed.begin())

    def __getitem__(self, index: int) -> range:
        return self._pieces[index]

    async def pieces_for(self, index: int) -> range:
        """Return the pieces of a task whose work is to be sent now; they are its own from now on."""
        if index not in self._pieces and self._timed is not None:
            await self._cut_next(index, *self._timed)
        return self._pieces[index]

    def took(self, index: int, seconds: float) -> None:
        """Take in how long a worker says to have computed a task."""
        if self._timed is not None:
            self._timed[0].took(self._pieces[index], seconds)
            self.computed(index)

    def yielded(self, index: int, result_bytes: int) -> None:
        """Take in how large the result of a task is."""
        if self._timed is not None:
            self._timed[0].yielded(self._pieces[index], result_bytes)
            self.computed(index)

    def computed(self, index: int) -> None:
        """Take in that a task was computed, however long that took."""
        if self._timed is not None:
            self._timed[0].computed(self._pieces[index])
            self._timing.set()
            self._timing = asyncio.Event()

    @property
    def tasks_to_come(self) -> int:
        """About how many tasks there will be beside those that have a name."""
        return self._timed[0].beyond if self._timed is not None else 0

    async def _cut_next(self, index: int, timed: TimedCut, grow: Grow) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while not timed.has_room:
                    await self._timing.wait()
        self._pieces[index], more = timed.next()
        if more:
            grow(self._names(more))

    def _names(self, more: int) -> tuple[TaskName, ...]:
        first, self._named = self._named, self._named + more
        return tuple(TaskName(phase=self._phase, index=index) for index in range(first, self._named))
