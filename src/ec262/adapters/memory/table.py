"""Rows in memory whose changes can be undone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

Row = TypeVar("Row")
Journal = list[Callable[[], None]]
"""How to undo what a unit of work has changed, in reverse order."""


class Table(Generic[Row]):
    """Rows by key; every change leaves its undoing in the journal."""

    def __init__(self, journal: Journal) -> None:
        self.rows: dict[str, Row] = {}
        self._journal = journal

    def put(self, key: str, row: Row) -> None:
        """Add or replace a row."""
        self._journal.append(partial(self._restore, key, self.rows.get(key)))
        self.rows[key] = row

    def drop(self, key: str) -> None:
        """Remove a row, if it is there."""
        self._journal.append(partial(self._restore, key, self.rows.pop(key, None)))

    def _restore(self, key: str, row: Row | None) -> None:
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = row
