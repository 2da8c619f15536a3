"""What a run carries from phase to phase: a phase's rows, how they are cut into tasks, and what the tasks yielded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ec262.domain.job import Phase, Row, TaskName
from ec262.domain.outcome import Pair
from ec262.domain.partition import rows_payload, split
from ec262.domain.shuffle import merge_results, shuffle


class JobData:
    """The data of one run of one job, one phase at a time: ``cut``, then ``payload`` and ``keep`` for each task, then
    ``shuffle`` and ``cut`` again, at last ``result``."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._partitions: list[range] = []
        self._payloads: dict[TaskName, bytes] = {}
        self._yielded: dict[TaskName, tuple[Pair, ...]] = {}

    @property
    def sizes(self) -> list[int]:
        """The bytes of each row of the phase."""
        return [len(row.data) for row in self._rows]

    def cut(self, phase: Phase, tasks: int) -> tuple[TaskName, ...]:
        """Cut the rows into so many partitions; return the names of the tasks that work on them."""
        self._partitions = split(self.sizes, tasks) if tasks else []
        return tuple(TaskName(phase=phase, index=index) for index in range(len(self._partitions)))

    async def payload(self, name: TaskName) -> bytes:
        """Return a task's rows as they travel."""
        payload = self._payloads.get(name)
        if payload is None:
            partition = self._partitions[name.index]
            payload = rows_payload(self._rows[partition.start : partition.stop])
            self._payloads[name] = payload
        return payload

    async def keep(self, name: TaskName, pairs: tuple[Pair, ...]) -> None:
        """Take in what a task yielded."""
        self._yielded[name] = pairs
        self._payloads.pop(name, None)

    async def shuffle(self) -> None:
        """Make what the map tasks yielded the rows of the reduce phase. Raises KeyCollision, KeyNotHashable."""
        ordered = self._ordered()
        self._yielded.clear()
        self._rows = await asyncio.to_thread(shuffle, ordered)

    async def result(self) -> dict[Any, Any]:
        """Return what the reduce tasks yielded as the job's result. Raises KeyCollision, KeyNotHashable."""
        return await asyncio.to_thread(merge_results, self._ordered())

    def _ordered(self) -> list[tuple[Pair, ...]]:
        return [self._yielded[name] for name in sorted(self._yielded, key=lambda name: name.index)]
