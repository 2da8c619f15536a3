"""The one place where a stranger's code runs."""

from __future__ import annotations

from typing import Protocol

from ec262.domain.work.runtime import RuntimeClass
from ec262.domain.work.work import Computed, Limits, Work


class Sandbox(Protocol):
    """Runs one task's functions where they can hurt nobody. Calls may overlap: one child each."""

    @property
    def runtime(self) -> RuntimeClass:
        """Which foremen it serves, and with whose results its own can be compared. Known before the start."""
        ...

    async def start(self) -> None:
        """Get ready. Raises SandboxUnavailable if the machine lacks what containment needs."""
        ...

    async def run(self, work: Work, limits: Limits) -> Computed:
        """Run one task to its end.

        A failure of the user's code is a result. Raises SandboxLimitExceeded and SandboxCrashed, whose texts the job
        may control, and SandboxBroken, whose text it must not. When cancelled, the child is killed before the
        cancellation goes on.
        """
        ...

    async def close(self) -> None:
        """Kill what still runs and free everything. May be called twice."""
        ...
