"""Where a worker stores the results that it committed, until the task is forgotten."""

from __future__ import annotations

from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class StoredResult:
    """A result ready for delivery. Both parts are encrypted with the task's key."""

    ciphertext: bytes = attrs.field(repr=False)
    log: bytes = attrs.field(repr=False)


class ResultStore(Protocol):
    """Results by task."""

    async def put(self, task: str, result: StoredResult, *, forgotten_at: float) -> None:
        """Store a result until ``forgotten_at``, replacing an earlier one of the task. It is stored completely or not
        at all. Spared results are dropped to make room, in the order in which they were spared.

        Raises ResultNotStored if the store is full or broken, and ValueError if ``task`` is not a task id.
        """
        ...

    async def get(self, task: str) -> StoredResult | None:
        """Return a task's result, or None if it is not stored (or no longer)."""
        ...

    async def spare(self, task: str) -> None:
        """Allow a task's result to be dropped when another one needs the room."""
        ...

    async def purge(self, now: float) -> None:
        """Drop the results whose ``forgotten_at`` has been reached."""
        ...

    async def close(self) -> None:
        """Drop everything. May be called twice."""
        ...
