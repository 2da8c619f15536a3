"""Results in memory."""

from __future__ import annotations

import re

from ec262.domain.errors import ResultNotStored
from ec262.domain.ports.result_store import StoredResult
from ec262.domain.protocol.shapes import ID_PATTERN


class MemoryResultStore:
    """A ResultStore that holds at most ``capacity_bytes`` of ciphertexts and logs."""

    def __init__(self, *, capacity_bytes: int = 1 << 30) -> None:
        self._capacity_bytes = capacity_bytes
        self._results: dict[str, tuple[float, StoredResult]] = {}
        self._bytes = 0
        self._spared: dict[str, None] = {}

    async def put(self, task: str, result: StoredResult, *, forgotten_at: float) -> None:
        """Keep a result until ``forgotten_at``."""
        if not re.fullmatch(ID_PATTERN, task):
            raise ValueError(f"{task!r} is not a task id")
        kept = self._results.get(task)
        needed = _size(result) - (_size(kept[1]) if kept is not None else 0)
        can_be_spared = [other for other in self._spared if other != task and other in self._results]
        freed = sum(_size(self._results[other][1]) for other in can_be_spared)
        if self._bytes - freed + needed > self._capacity_bytes:
            raise ResultNotStored(f"the result store is full ({self._capacity_bytes} bytes)")
        for other in can_be_spared:
            if self._bytes + needed <= self._capacity_bytes:
                break
            self._bytes -= _size(self._results.pop(other)[1])
            del self._spared[other]
        self._spared.pop(task, None)
        self._results[task] = (forgotten_at, result)
        self._bytes += needed

    async def get(self, task: str) -> StoredResult | None:
        """Return a task's result, or None."""
        kept = self._results.get(task)
        return kept[1] if kept is not None else None

    async def spare(self, task: str) -> None:
        """Let a result be dropped when room is needed."""
        if task in self._results:
            self._spared[task] = None

    async def purge(self, now: float) -> None:
        """Drop the results whose time is over."""
        self._results = {task: kept for task, kept in self._results.items() if kept[0] > now}
        self._bytes = sum(_size(result) for _, result in self._results.values())
        self._spared = {task: None for task in self._spared if task in self._results}

    async def close(self) -> None:
        """Drop everything."""
        self._results.clear()
        self._bytes = 0


def _size(result: StoredResult) -> int:
    return len(result.ciphertext) + len(result.log)
