"""How long to collect questions and purchases in order to batch them."""

from __future__ import annotations

import attrs

SHARE = 0.1
"""The length of a pause as a share of a task's mean time. On average, a question waits for half a pause."""

MIN_PAUSE_S, MAX_PAUSE_S = 0.005, 10.0


@attrs.define
class Pace:
    """The mean time of tasks, and the pause that follows from it."""

    _tasks: int = 0
    _took_s: float = 0.0

    def took(self, seconds: float) -> None:
        """Count one more task."""
        self._tasks += 1
        self._took_s += seconds

    @property
    def pause_s(self) -> float:
        """The pause between two questions of one kind, so that each covers more tasks."""
        mean_s = self._took_s / self._tasks if self._tasks else 0.0
        return min(max(SHARE * mean_s, MIN_PAUSE_S), MAX_PAUSE_S)
