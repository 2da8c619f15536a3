"""An index of the places where data can be cut: every place if there is little data, and never a large index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

Place = TypeVar("Place")

MAX_PIECES = 8192
"""Enough pieces to cut tasks of equal size, and few enough to take hardly any memory."""


class Cuts(Generic[Place]):
    """Consecutive pieces of data: their sizes, and the places where they end.

    When there are more than ``most``, neighbors are merged into pieces of about equal size. A place is whatever the
    caller needs to find its data again.
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
        """Add the next piece, of ``size`` bytes (at least one), which ends at ``end``."""
        if self._sizes and self._sizes[-1] + size <= self._grain:
            self.extend(size, end)
            return
        self._sizes.append(size)
        self._places.append(end)
        if len(self._sizes) > self._most:
            self._coarsen()

    def extend(self, size: int, end: Place) -> None:
        """Extend the last piece: there will be no cut before the added data."""
        self._sizes[-1] += size
        self._places[-1] = end

    def span(self, pieces: range) -> tuple[Place, Place]:
        """Return where consecutive pieces (at least one) begin and end."""
        return self._places[pieces.start], self._places[pieces.stop]

    def _coarsen(self) -> None:
        # Any two remaining neighbors together exceed the grain, so at most half of the allowed pieces remain.
        self._grain = -(-4 * sum(self._sizes) // self._most)
        sizes, ends = self._sizes, self._places[1:]
        self._sizes, self._places = [], self._places[:1]
        for size, end in zip(sizes, ends, strict=True):
            if self._sizes and self._sizes[-1] + size <= self._grain:
                self.extend(size, end)
            else:
                self._sizes.append(size)
                self._places.append(end)
