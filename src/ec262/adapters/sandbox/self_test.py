"""See for oneself that a sandbox works and holds, before a stranger's code is let in."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence

import attrs

from ec262.adapters.sandbox.tier import AttemptedAct
from ec262.domain.errors import NotCanonical, SandboxError, SandboxUnavailable
from ec262.domain.ports.sandbox import Sandbox
from ec262.domain.values import canonical
from ec262.domain.work.outcome import Pairs, decode_outcome
from ec262.domain.work.work import Limits, Phase, Work


@attrs.frozen(kw_only=True)
class SelfTest:
    """A job that tries what no job may do: ``attempt`` is its mapper, which gets each of the ``acts`` as a key, and
    yields what came of it: ``refused``, or what it got."""

    attempt: Callable[..., object]
    acts: Sequence[str]
    refused: str
    limits: Limits

    async def findings(self, sandbox: Sandbox) -> tuple[AttemptedAct, ...]:
        """Run the job; return what came of each act. Raises SandboxUnavailable."""
        work = Work(
            phase=Phase.MAP,
            functions=pickle.dumps({"mapper": self.attempt}),
            rows=canonical.encode([[act, None] for act in self.acts]),
            seed=0,
        )
        try:
            outcome = decode_outcome((await sandbox.run(work, self.limits)).outcome)
        except (SandboxError, NotCanonical) as error:
            raise SandboxUnavailable(f"the sandbox does not work on this machine: {error}") from error
        if not isinstance(outcome, Pairs):
            raise SandboxUnavailable(f"the sandbox does not work on this machine: its trial job gave {outcome}")
        told = {act: str(result) for act, result in outcome.pairs}
        return tuple(
            AttemptedAct(act=act, refused=told.get(act) == self.refused, told=told.get(act, "nothing"))
            for act in self.acts
        )

    async def check(self, sandbox: Sandbox) -> None:
        """See that every act is refused. Raises SandboxUnavailable, naming what was not."""
        broken = [f"{finding.act} ({finding.told})" for finding in await self.findings(sandbox) if not finding.refused]
        if broken:
            raise SandboxUnavailable(f"the sandbox does not hold on this machine: a job could {', '.join(broken)}")
