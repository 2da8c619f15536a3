"""A sandbox that is none, for tests."""

from __future__ import annotations

from ec262.adapters.jobs.local_runtime import runtime_class
from ec262.adapters.sandbox.log import Log, printing_to
from ec262.adapters.sandbox.runner import Run
from ec262.domain.errors import SandboxLimitExceeded
from ec262.domain.work.runtime import RuntimeClass
from ec262.domain.work.work import Computed, Limits, Work


class UnconfinedSandbox:
    """Runs the job's code in this very process, with all that this process may do.

    For tests only: it keeps nobody out. Of the limits only those on output and log hold, and calls do not overlap.
    """

    name = "unconfined"

    @property
    def runtime(self) -> RuntimeClass:
        """This interpreter's, on this machine."""
        return runtime_class(self.name)

    async def start(self) -> None:
        """Nothing to get ready."""

    async def run(self, work: Work, limits: Limits) -> Computed:
        """Run one task to its end. Raises SandboxLimitExceeded."""
        log = Log(limits.log_bytes)
        run = Run(phase=work.phase.value, seed=work.seed, log=log, round_floats=work.round_floats)
        try:
            with printing_to(log):
                outcome = run.compute(work.functions, work.rows)
        except MemoryError as error:
            raise SandboxLimitExceeded("memory", f"out of memory {run.where}") from error
        if len(outcome) > limits.output_bytes:
            told = f"a result of {len(outcome)} bytes where {limits.output_bytes} are allowed"
            raise SandboxLimitExceeded("output", told)
        return Computed(outcome=outcome, log=log.content())

    async def close(self) -> None:
        """Nothing to free."""
