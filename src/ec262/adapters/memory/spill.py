"""Spills in memory, for tests and for data that fit."""

from __future__ import annotations


class MemorySpill:
    """A Spill that keeps everything in memory after all."""

    def __init__(self) -> None:
        self._data = bytearray()

    def append(self, data: bytes) -> int:
        """Keep these bytes; return where they begin."""
        start = len(self._data)
        self._data += data
        return start

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``."""
        return bytes(self._data[start:stop])

    def close(self) -> None:
        """Forget everything."""
        self._data.clear()
