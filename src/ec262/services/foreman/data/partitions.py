"""The partitions of a phase: known from the start, or cut by time as workers become ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from ec262.domain.foreman.data.partition import split
from ec262.domain.foreman.data.sizing import TimedCut
from ec262.domain.work.work import Phase, TaskName

PATIENCE_S = 1.0
"""How long a ready worker waits for timings of other workers before it is sent rows without them."""

Grow = Callable[[tuple[TaskName, ...]], None]
"""Receives the names of more tasks."""


class Partitions:
    """Which pieces of a phase belong to which task, by task index."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase
        self._pieces: dict[int, range] = {}
        self._named = 0
        self._timed: tuple[TimedCut, Grow] | None = None
        self._timing = asyncio.Event()

    def cut(self, sizes: Sequence[int], tasks: int) -> tuple[TaskName, ...]:
        """Cut pieces of these sizes (bytes) into ``tasks`` partitions; return the names of their tasks."""
        self._pieces = dict(enumerate(split(sizes, tasks) if tasks else []))
        return self._names(len(self._pieces))

    def cut_by_time(self, timed: TimedCut, grow: Grow) -> tuple[TaskName, ...]:
        """Return the names of the first tasks; pass those of later tasks to ``grow``."""
        self._timed = timed, grow
        return self._names(timed.begin())

    def __getitem__(self, index: int) -> range:
        return self._pieces[index]

    async def pieces_for(self, index: int) -> range:
        """Return the pieces of a task whose work is about to be sent; they do not change from then on."""
        if index not in self._pieces and self._timed is not None:
            await self._cut_next(index, *self._timed)
        return self._pieces[index]

    def took(self, index: int, seconds: float) -> None:
        """Record how long a worker says it took to compute a task."""
        if self._timed is not None:
            self._timed[0].took(self._pieces[index], seconds)
            self.computed(index)

    def yielded(self, index: int, result_bytes: int) -> None:
        """Record the size of a task's result."""
        if self._timed is not None:
            self._timed[0].yielded(self._pieces[index], result_bytes)
            self.computed(index)

    def computed(self, index: int) -> None:
        """Record that a task was computed, however long that took."""
        if self._timed is not None:
            self._timed[0].computed(self._pieces[index])
            self._timing.set()
            self._timing = asyncio.Event()

    @property
    def tasks_to_come(self) -> int:
        """About how many more tasks there will be, beyond those that have names."""
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
