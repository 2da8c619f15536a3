"""Tasks whose work has not come: how long a worker has waited for it, and what their foreman could not help."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import attrs


@attrs.frozen
class Excuses:
    """Seconds in which the work of a task could not come: because other work came, or because its worker was computing
    all that it takes of one foreman."""

    transfers_s: float = 0.0
    computing_s: float = 0.0

    def __add__(self, other: Excuses) -> Excuses:
        return Excuses(self.transfers_s + other.transfers_s, self.computing_s + other.computing_s)

    def __sub__(self, other: Excuses) -> Excuses:
        return Excuses(self.transfers_s - other.transfers_s, self.computing_s - other.computing_s)


class Line:
    """A connection by which work comes, one task's after another's."""

    def __init__(self) -> None:
        self.arriving: str | None = None
        """The task whose work is coming."""
        self._ended = Excuses()
        self._began: float | None = None
        self._computing = False

    @contextmanager
    def taken(self, *, computing: bool = False) -> Iterator[None]:
        """Note that nothing else can come as long as the context lasts, or until ``free``."""
        self.take(computing=computing)
        try:
            yield
        finally:
            self.free()

    def take(self, *, computing: bool = False) -> None:
        """Note that nothing else can come from now on."""
        self.free()
        self._began, self._computing = _now(), computing

    def free(self) -> None:
        """Note that anything can come."""
        self._ended = self.excuses()
        self._began = None

    def excuses(self) -> Excuses:
        """Return what there was so far, since the connection began."""
        if self._began is None:
            return self._ended
        since_s = _now() - self._began
        return self._ended + (Excuses(computing_s=since_s) if self._computing else Excuses(transfers_s=since_s))


@attrs.define
class _Announcement:
    """A task whose work is waited for. ``excuses`` are those of the lines before ``line``; what ``line`` had when the
    task came to it is ``before``."""

    since: float
    line: Line = attrs.Factory(Line)
    before: Excuses = attrs.Factory(Excuses)
    excuses: Excuses = attrs.Factory(Excuses)

    def all_excuses(self) -> Excuses:
        return self.excuses + (self.line.excuses() - self.before)


class Announcements:
    """Tells which tasks have kept this worker waiting for ``patience_s``.

    Time in which work of the foreman's other tasks comes does not count, up to ``transfers_s``: links may be slow, but
    not all day. Nor does time in which this worker computes all that it takes of one foreman.
    """

    def __init__(self, *, patience_s: float, transfers_s: float) -> None:
        self._patience_s = patience_s
        self._transfers_s = transfers_s
        self._waiting: dict[str, _Announcement] = {}

    def expect(self, task: str, line: Line | None = None) -> None:
        """Wait for a task's work, by this ``line`` from now on. Asking again makes no time of waiting undone."""
        waiting = self._waiting.setdefault(task, _Announcement(since=_now()))
        if line is not None:
            waiting.excuses = waiting.all_excuses()
            waiting.line, waiting.before = line, line.excuses()

    def comes_by(self, task: str, line: Line) -> bool:
        """Tell whether a task's work is waited for, and was last to come by this line."""
        return task in self._waiting and self._waiting[task].line is line

    def drop(self, task: str) -> None:
        """Wait for a task no more, if it was waited for."""
        self._waiting.pop(task, None)

    def overdue(self) -> list[str]:
        """Return the tasks that were waited for too long, and whose work is not coming now."""
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
