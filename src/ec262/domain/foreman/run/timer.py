"""When a run has something to do next although nothing happens."""

from __future__ import annotations

from collections.abc import Callable

from ec262.domain.foreman.run.events import Instruction, Wake

Due = Callable[[], float | None]
"""Tells when there is something to do, if it is known."""


class JobTimer:
    """Knows those parts of a run that wait for a time."""

    def __init__(self) -> None:
        self._waiting: list[Due] = []

    def wakes(self, due: Due) -> None:
        """Wake the run for one more part, too."""
        self._waiting.append(due)

    def set(self, now: float) -> list[Instruction]:
        """Ask to be woken when there is something to do. An answer that is to come wakes by itself."""
        times = [at for at in [due() for due in self._waiting] if at is not None]
        return [Wake(at=max(now, min(times)))] if times else []
