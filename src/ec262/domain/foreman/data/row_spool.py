"""Storage for rows that are written once and read in partitions: in memory as long as they fit, otherwise on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ec262.domain.errors import JobDefinitionError
from ec262.domain.foreman.data.cuts import Cuts
from ec262.domain.foreman.data.row import Row
from ec262.domain.ports.spill import Spill, Spills
from ec262.domain.values.canonical import encode_list

OVERHEAD_BYTES = 41
"""The memory overhead of a row."""

WRITE_BYTES = 1 << 20
"""The amount of rows that is written at a time."""


class RowSpool:
    """An implementation of Rows that is filled with ``append`` before it is read.

    Rows that exceed ``memory_bytes`` are written to a spill; without ``spills``, all stay in memory.
    """

    def __init__(self, spills: Spills | None = None, *, memory_bytes: int = 0) -> None:
        self._spills = spills
        self._memory_bytes = memory_bytes
        self._cuts: Cuts[tuple[int, int]] = Cuts((0, 0))
        """A place is the number of rows before it, and the number of their bytes with a comma after each row."""
        self._end = (0, 0)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._spill: Spill | None = None
        self._closed = False

    @property
    def count(self) -> int:
        """The number of rows."""
        return self._end[0]

    @property
    def sizes(self) -> Sequence[int]:
        """The size of each piece in bytes."""
        return self._cuts.sizes

    def append(self, row: bytes, *, with_last: bool = False) -> None:
        """Add the canonical bytes of a [key, value] list; ``with_last`` keeps it in one piece with the previous row.

        Raises SpillFailed.
        """
        size = len(row) + 1
        self._end = self._end[0] + 1, self._end[1] + size
        if with_last:
            self._cuts.extend(size, self._end)
        else:
            self._cuts.add(size, self._end)
        self._held.append(row)
        self._held_bytes += size + OVERHEAD_BYTES
        if self._held_bytes > self._memory_bytes and self._spills is not None:
            self._spill = self._spill or self._spills()
            self._put_away(self._spill)

    def payload(self, pieces: range) -> bytes:
        """Return the rows of these pieces as sent to workers. Raises JobDefinitionError after ``close``."""
        if self._closed:
            raise JobDefinitionError("the rows of this job are gone: a job can run only once, so create a new one")
        (first, start), (stop, end) = self._cuts.span(pieces)
        if self._spill is None:
            return encode_list(self._held[first:stop])
        if self._held:
            self._put_away(self._spill)
        return b"".join((b"[", self._spill.read(start, end - 1), b"]"))

    def close(self) -> None:
        """Drop all data, except without ``spills``: then the rows belong to the owner of the job."""
        if self._spills is None:
            return
        self._closed = True
        self._held.clear()
        if self._spill is not None:
            self._spill.close()

    def _put_away(self, spill: Spill) -> None:
        self._memory_bytes = min(self._memory_bytes, WRITE_BYTES)  # later rows are written almost immediately
        portion: list[bytes] = []
        size = 0
        for row in self._held:
            portion.append(row)
            size += len(row) + 1
            if size > WRITE_BYTES:
                spill.append(b",".join((*portion, b"")))
                portion, size = [], 0
        if portion:
            spill.append(b",".join((*portion, b"")))
        self._held.clear()
        self._held_bytes = 0


def held(rows: Iterable[Row]) -> RowSpool:
    """Return a spool of rows that are already in memory and may stay there."""
    spool = RowSpool()
    for row in rows:
        spool.append(row.data)
    return spool
