"""Storage that dies where a test wants it to: just before, or just after, what was done became durable."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast

from ec262.domain.discovery.unit_of_work import UnitOfWork, UnitOfWorkFactory


class Died(Exception):
    """Stands for a process that was killed."""


class Faults:
    """Kills units of work. After a death, and until ``arm`` is called again, all goes well."""

    def __init__(self) -> None:
        self._commits_left = 0
        self._after = False
        self.on_death: Callable[[], None] = lambda: None
        """Is called at the moment of death, before anything else of the process gets to run."""

    def arm(self, *, commit: int, after: bool) -> None:
        """Die at the ``commit``-th commit from now, counted from 1, before or ``after`` it. 0 disarms."""
        self._commits_left = commit
        self._after = after

    def around(self, factory: UnitOfWorkFactory) -> UnitOfWorkFactory:
        """Return a factory of units of work that die."""
        return lambda: cast("UnitOfWork", _Mortal(factory(), self))

    def commit(self, commit: Callable[[], None]) -> None:
        """Commit, or die."""
        self._commits_left -= 1
        dies = self._commits_left == 0
        if not dies or self._after:
            commit()
        if dies:
            self.on_death()
            raise Died


class _Mortal:
    """A unit of work that asks first whether it may commit."""

    def __init__(self, mortal: UnitOfWork, faults: Faults) -> None:
        self._mortal = mortal
        self._faults = faults

    def __enter__(self) -> Self:
        self._mortal.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mortal.__exit__(kind, error, trace)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mortal, name)

    def commit(self) -> None:
        self._faults.commit(self._mortal.commit)
