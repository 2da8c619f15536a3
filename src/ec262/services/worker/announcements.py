"""Announced tasks whose work has not arrived: how long a worker has waited, less delays that are not the foreman's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import attrs


@attrs.frozen
class Excuses:
    """Seconds in which the work of a task could not arrive: because other work was arriving, or because its worker was
    computing all tasks that it accepts from one foreman."""

    transfers_s: float = 0.0
    computing_s: float = 0.0

    def __add__(self, other: Excuses) -> Excuses:
        return Excuses(self.transfers_s + other.transfers_s, self.computing_s + other.computing_s)

    def __sub__(self, other: Excuses) -> Excuses:
        return Excuses(self.transfers_s - other.transfers_s, self.computing_s - other.computing_s)


class Line:
    """A connection on which work arrives, one task's at a time."""

    def __init__(self) -> None:
        self.arriving: str | None = None
        """The task whose work is arriving."""
        self._ended = Excuses()
        self._began: float | None = None
        self._computing = False

    @contextmanager
    def taken(self, *, computing: bool = False) -> Iterator[None]:
        """Mark the line as busy while the context lasts, or until ``free``."""
        self.take(computing=computing)
        try:
            yield
        finally:
            self.free()

    def take(self, *, computing: bool = False) -> None:
        """Mark the line as busy from now on."""
        self.free()
        self._began, self._computing = _now(), computing

    def free(self) -> None:
        """Mark the line as free."""
        self._ended = self.excuses()
        self._began = None

    def excuses(self) -> Excuses:
        """Return the excuses so far, since the connection began."""
        if self._began is None:
            return self._ended
        since_s = _now() - self._began
        return self._ended + (Excuses(computing_s=since_s) if self._computing else Excuses(transfers_s=since_s))


@attrs.define
class _Announcement:
    """A task whose work is awaited. ``excuses`` are those of earlier lines; ``before`` is what ``line`` had when the
    task moved to it."""

    since: float
    line: Line = attrs.Factory(Line)
    before: Excuses = attrs.Factory(Excuses)
    excuses: Excuses = attrs.Factory(Excuses)

    def all_excuses(self) -> Excuses:
        return self.excuses + (self.line.excuses() - self.before)


class Announcements:
    """Knows which tasks have kept this worker waiting for ``patience_s``.

    Time in which work of the foreman's other tasks arrives does not count, up to ``transfers_s``: links may be slow,
    but not forever. Nor does time in which this worker computes all tasks that it accepts from one foreman.
    """

    def __init__(self, *, patience_s: float, transfers_s: float) -> None:
        self._patience_s = patience_s
        self._transfers_s = transfers_s
        self._waiting: dict[str, _Announcement] = {}

    def expect(self, task: str, line: Line | None = None) -> None:
        """Wait for a task's work, on this ``line`` from now on. Repeating the call does not reset the waiting time."""
        waiting = self._waiting.setdefault(task, _Announcement(since=_now()))
        if line is not None:
            waiting.excuses = waiting.all_excuses()
            waiting.line, waiting.before = line, line.excuses()

    def comes_by(self, task: str, line: Line) -> bool:
        """Return whether a task's work is awaited on this line."""
        return task in self._waiting and self._waiting[task].line is line

    def drop(self, task: str) -> None:
        """Stop waiting for a task's work, if it was awaited."""
        self._waiting.pop(task, None)

    def overdue(self) -> list[str]:
        """Return the tasks that have waited too long for their work, and whose work is not arriving now."""
        return [
            task
            for task, waiting in self._waiting.items()
            if waiting.line.arriving != task and self._waited_s(waiting) >= self._patience_s
        ]

    def _waited_s(self, waiting: _Announcement) -> float:
        excuses = waiting.all_excuses()
        return _now() - waiting.since - min(excuses.transfers_s, self._transfers_s) - excuses.computing_s


def _now() -> float:
    return asyncio.get_running_loop().time()
