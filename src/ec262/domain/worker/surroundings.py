"""What goes on around a worker: the time of day, and whether its machine is used by others."""

from __future__ import annotations

from typing import Protocol

from ec262.domain.worker.availability import Moment


class Surroundings(Protocol):
    """Looks at the machine that the worker runs on."""

    async def observe(self) -> Moment:
        """Return what is known now. To be called again and again, some seconds apart: a load is known over time only.

        Raises ConfigurationError where the machine cannot tell.
        """
        ...
