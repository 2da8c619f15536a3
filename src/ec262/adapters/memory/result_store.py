"""Results in memory."""

from __future__ import annotations

import re

from ec262.domain.errors import ResultNotStored
from ec262.domain.ports.result_store import StoredResult
from ec262.domain.shapes import ID_PATTERN


class MemoryResultStore:
    """A ResultStore that holds at most ``capacity_bytes`` of ciphertexts and logs."""

    def __init__(self, *, capacity_bytes: int = 1 << 30) -> None:
        self._capacity_bytes = capacity_bytes
        self._results: dict[str, tuple[float, StoredResult]] = {}

    async def put(self, task: str, result: StoredResult, *, forgotten_at: float) -> None:
        """Keep a result until ``forgotten_at``."""
        if not re.fullmatch(ID_PATTERN, task):
            raise ValueError(f"{task!r} is no task id")
        others = sum(_size(kept) for name, (_, kept) in self._results.items() if name != task)
        if others + _size(result) > self._capacity_bytes:
            raise ResultNotStored(f"the store of results is full ({self._capacity_bytes} bytes)")
        self._results[task] = (forgotten_at, result)

    async def get(self, task: str) -> StoredResult | None:
        """Return a task's result, or None."""
        kept = self._results.get(task)
        return kept[1] if kept is not None else None

    async def purge(self, now: float) -> None:
        """Drop the results whose time is over."""
        self._results = {task: kept for task, kept in self._results.items() if kept[0] > now}

    async def close(self) -> None:
        """Drop everything."""
        self._results.clear()


def _size(result: StoredResult) -> int:
    return len(result.ciphertext) + len(result.log)
