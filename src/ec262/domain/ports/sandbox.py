"""The only place where a stranger's code runs."""

from __future__ import annotations

from typing import Protocol

from ec262.domain.work.runtime import RuntimeClass
from ec262.domain.work.work import Computed, Limits, Work


class Sandbox(Protocol):
    """Runs tasks where they can do no harm. Calls may overlap; each has its own child."""

    @property
    def runtime(self) -> RuntimeClass:
        """Decides which foremen it can serve and with which results its own are comparable. Known before the start."""
        ...

    async def start(self) -> None:
        """Start. Raises SandboxUnavailable if the machine lacks something that containment needs."""
        ...

    async def run(self, work: Work, limits: Limits) -> Computed:
        """Run one task to its end.

        A failure of the job's code is a result. Raises SandboxLimitExceeded and SandboxCrashed, with texts that the job
        may control, and SandboxBroken, with a text that it must not control. On cancellation, the child is killed
        before the cancellation propagates.
        """
        ...

    async def close(self) -> None:
        """Kill all running children and release everything. May be called twice."""
        ...
