"""The surroundings of a worker: the time of day, and whether its machine is in use."""

from __future__ import annotations

from typing import Protocol

from ec262.domain.worker.availability import Moment


class Surroundings(Protocol):
    """Observes the machine that the worker runs on."""

    async def observe(self) -> Moment:
        """Return what is known now. Call this regularly, some seconds apart, since a load can only be measured over
        time.

        Raises ConfigurationError if the machine does not provide the information.
        """
        ...
