"""How long to gather what could be asked for one by one."""

from __future__ import annotations

import attrs

SHARE = 0.1
"""A pause is this share of the time that a task takes: what has to wait for it waits half of that on average."""

MIN_PAUSE_S, MAX_PAUSE_S = 0.005, 10.0


@attrs.define
class Pace:
    """The mean time that tasks take, and the pause that belongs to it."""

    _tasks: int = 0
    _took_s: float = 0.0

    def took(self, seconds: float) -> None:
        """Count one more task."""
        self._tasks += 1
        self._took_s += seconds

    @property
    def pause_s(self) -> float:
        """Seconds to wait between two questions of one kind, to ask for more at once."""
        mean_s = self._took_s / self._tasks if self._tasks else 0.0
        return min(max(SHARE * mean_s, MIN_PAUSE_S), MAX_PAUSE_S)
