"""Where a foreman stores data that exceeds its memory budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Spill(Protocol):
    """A sequence of bytes outside memory, which exists only as long as it is needed.

    Every method except ``close`` raises SpillFailed if the place is full or broken.
    """

    def append(self, data: bytes) -> int:
        """Store bytes, and return where they begin, counted from the first byte ever appended."""
        ...

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``, which must all have been appended."""
        ...

    def close(self) -> None:
        """Drop everything. May be called twice."""
        ...


Spills = Callable[[], Spill]
"""Creates a new, empty spill. Raises SpillFailed if there is no place for one."""
