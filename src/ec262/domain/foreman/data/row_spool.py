"""Rows that were made once and are read in partitions: in memory while they are few, else outside of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ec262.domain.errors import JobDefinitionError
from ec262.domain.foreman.data.cuts import Cuts
from ec262.domain.foreman.data.row import Row
from ec262.domain.ports.spill import Spill, Spills
from ec262.domain.values.canonical import encode_list

OVERHEAD_BYTES = 41
"""What a row in memory takes beside its bytes."""

WRITE_BYTES = 1 << 20
"""Rows that are written at a time."""


class RowSpool:
    """A Rows that is filled with ``append`` before anything is read.

    What goes beyond ``memory_bytes`` is put into a spill; without ``spills``, memory holds all of it.
    """

    def __init__(self, spills: Spills | None = None, *, memory_bytes: int = 0) -> None:
        self._spills = spills
        self._memory_bytes = memory_bytes
        self._cuts: Cuts[tuple[int, int]] = Cuts((0, 0))
        """A place is the number of rows before it, and of bytes with a comma behind each row."""
        self._end = (0, 0)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._spill: Spill | None = None
        self._closed = False

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self._end[0]

    @property
    def sizes(self) -> Sequence[int]:
        """The bytes of each piece."""
        return self._cuts.sizes

    def append(self, row: bytes, *, with_last: bool = False) -> None:
        """Take in the canonical bytes of a [key, value] list; ``with_last`` keeps it in one piece with the row before.

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
        """Return the rows of these pieces as they travel. Raises JobDefinitionError once they are forgotten."""
        if self._closed:
            raise JobDefinitionError("the rows of this job are gone: a job can run only once, so create a new one")
        (first, start), (stop, end) = self._cuts.span(pieces)
        if self._spill is None:
            return encode_list(self._held[first:stop])
        if self._held:
            self._put_away(self._spill)
        return b"".join((b"[", self._spill.read(start, end - 1), b"]"))

    def close(self) -> None:
        """Forget everything; but where memory holds all of it, that is whoever has the job to let go of."""
        if self._spills is None:
            return
        self._closed = True
        self._held.clear()
        if self._spill is not None:
            self._spill.close()

    def _put_away(self, spill: Spill) -> None:
        self._memory_bytes = min(self._memory_bytes, WRITE_BYTES)  # what follows is written nearly as it comes
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
    """Return rows that are in memory already, and may stay there."""
    spool = RowSpool()
    for row in rows:
        spool.append(row.data)
    return spool
