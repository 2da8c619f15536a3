"""Surroundings that are set by hand."""

from __future__ import annotations

import math

from ec262.domain.worker.availability import Moment

QUIET_NOON = Moment(minute=12 * 60, others_load=0.0, input_idle_s=math.inf)


class MemorySurroundings:
    """Tells ``moment``, which may be set at any time."""

    def __init__(self, moment: Moment = QUIET_NOON) -> None:
        self.moment = moment

    async def observe(self) -> Moment:
        """Return the moment."""
        return self.moment
