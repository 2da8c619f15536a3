"""Where the rows of a phase come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Rows(Protocol):
    """Rows in their order, in pieces that are cut no further: single rows, or several where there are very many."""

    @property
    def count(self) -> int:
        """How many rows there are, for people."""
        ...

    @property
    def sizes(self) -> Sequence[int]:
        """About how many bytes each piece takes when it travels; empty if there are no rows."""
        ...

    def payload(self, pieces: range) -> bytes:
        """Return the rows of consecutive pieces as they travel: the canonical bytes of a list of [key, value] lists.

        Takes its time, so call it where others need not wait. Raises SpillFailed, and JobDefinitionError if the rows
        cannot be read any more.
        """
        ...

    def close(self) -> None:
        """Forget everything. May be called twice."""
        ...
