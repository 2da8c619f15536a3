"""When a run has something to do next without an event."""

from __future__ import annotations

from collections.abc import Callable

from ec262.domain.foreman.run.events import Instruction, Wake

Due = Callable[[], float | None]
"""Returns when there is something to do, or None."""


class JobTimer:
    """Combines the times for which the parts of a run wait."""

    def __init__(self) -> None:
        self._waiting: list[Due] = []

    def wakes(self, due: Due) -> None:
        """Wake the run for another part, too."""
        self._waiting.append(due)

    def set(self, now: float) -> list[Instruction]:
        """Ask to be woken when there is something to do. Outstanding replies need no timer."""
        times = [at for at in [due() for due in self._waiting] if at is not None]
        return [Wake(at=max(now, min(times)))] if times else []
