"""The source of a phase's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Rows(Protocol):
    """Rows in order, in indivisible pieces: single rows, or several together if there are very many."""

    @property
    def count(self) -> int:
        """How many rows there are, for people."""
        ...

    @property
    def sizes(self) -> Sequence[int]:
        """Approximately how many bytes each piece takes on the wire; empty if there are no rows."""
        ...

    def payload(self, pieces: range) -> bytes:
        """Return the rows of consecutive pieces as they are sent: the canonical bytes of a list of [key, value] lists.

        This may take long, so call it in a thread. Raises SpillFailed, and JobDefinitionError if the rows can no longer
        be read.
        """
        ...

    def close(self) -> None:
        """Drop everything. May be called twice."""
        ...
