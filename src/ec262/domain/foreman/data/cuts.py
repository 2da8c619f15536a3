"""An index of where data can be cut: as fine as the data where they are small, and never large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

Place = TypeVar("Place")

MAX_PIECES = 8192
"""So many pieces are enough to cut tasks of equal size, and take no memory to speak of."""


class Cuts(Generic[Place]):
    """Pieces of data one behind the other: their sizes, and the places where they end.

    When there are more than ``MAX_PIECES``, neighbors are put together, so that what is left are pieces of about equal
    size; a place is whatever the caller needs to find its data again.
    """

    def __init__(self, start: Place, *, most: int = MAX_PIECES) -> None:
        self._places = [start]
        self._sizes: list[int] = []
        self._most = most
        self._grain = 0

    @property
    def sizes(self) -> Sequence[int]:
        """The size of each piece."""
        return self._sizes

    def add(self, size: int, end: Place) -> None:
        """Take in the next piece: it takes so many bytes, at least one, and ends there."""
        if self._sizes and self._sizes[-1] + size <= self._grain:
            self.extend(size, end)
            return
        self._sizes.append(size)
        self._places.append(end)
        if len(self._sizes) > self._most:
            self._coarsen()

    def extend(self, size: int, end: Place) -> None:
        """Make the last piece larger: what is added is not to be cut from it."""
        self._sizes[-1] += size
        self._places[-1] = end

    def span(self, pieces: range) -> tuple[Place, Place]:
        """Return where consecutive pieces, at least one, begin and end."""
        return self._places[pieces.start], self._places[pieces.stop]

    def _coarsen(self) -> None:
        # Any two neighbors that are left take more than the grain together, so half as many as allowed are left.
        self._grain = -(-4 * sum(self._sizes) // self._most)
        sizes, ends = self._sizes, self._places[1:]
        self._sizes, self._places = [], self._places[:1]
        for size, end in zip(sizes, ends, strict=True):
            if self._sizes and self._sizes[-1] + size <= self._grain:
                self.extend(size, end)
            else:
                self._sizes.append(size)
                self._places.append(end)
