"""Where a foreman puts what its memory is not to hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Spill(Protocol):
    """Bytes outside of memory, one behind the other, for as long as they are needed and no longer.

    Every method but ``close`` raises SpillFailed if the place is full or broken.
    """

    def append(self, data: bytes) -> int:
        """Keep these bytes; return where they begin, counted from the first byte ever appended."""
        ...

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``, all of which were appended."""
        ...

    def close(self) -> None:
        """Forget everything. May be called twice."""
        ...


Spills = Callable[[], Spill]
"""Makes a new, empty spill. Raises SpillFailed if there is no place for one."""
