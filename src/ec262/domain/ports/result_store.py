"""Where a worker keeps what it committed, until the task is forgotten."""

from __future__ import annotations

from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class StoredResult:
    """A result ready to be delivered: both parts are encrypted under the task's key."""

    ciphertext: bytes = attrs.field(repr=False)
    log: bytes = attrs.field(repr=False)


class ResultStore(Protocol):
    """Results by task."""

    async def put(self, task: str, result: StoredResult, *, forgotten_at: float) -> None:
        """Keep a result until ``forgotten_at``, in place of an earlier one of the task. All or nothing. To make room,
        results that can be spared are dropped, the first spared first.

        Raises ResultNotStored if the store is full or broken, ValueError if ``task`` is no task id.
        """
        ...

    async def get(self, task: str) -> StoredResult | None:
        """Return a task's result, or None if there is none (any more)."""
        ...

    async def spare(self, task: str) -> None:
        """Let a task's result be dropped when room is needed for another one."""
        ...

    async def purge(self, now: float) -> None:
        """Drop the results whose ``forgotten_at`` is not after ``now``."""
        ...

    async def close(self) -> None:
        """Drop everything. May be called twice."""
        ...
