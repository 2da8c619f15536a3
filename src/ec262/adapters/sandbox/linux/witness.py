"""See for oneself that the sandbox holds, before a stranger's code is let in."""

from __future__ import annotations

import pickle

from ec262.adapters.sandbox.linux.child.witness import ACTS, MORE_THAN_ITS_LIMIT_BYTES, REFUSED, attempt
from ec262.adapters.sandbox.linux.tier import Finding
from ec262.domain import canonical
from ec262.domain.errors import NotCanonical, SandboxError, SandboxUnavailable
from ec262.domain.job import Limits, Phase, Work
from ec262.domain.outcome import Pairs, decode_outcome
from ec262.domain.ports.sandbox import Sandbox

_LIMITS = Limits(cpu_s=10, wall_s=10, memory_bytes=MORE_THAN_ITS_LIMIT_BYTES // 4)


async def examine(sandbox: Sandbox) -> tuple[Finding, ...]:
    """Run a job that tries what no job may do; return what came of each act. Raises SandboxUnavailable."""
    work = Work(
        phase=Phase.MAP,
        functions=pickle.dumps({"mapper": attempt}),
        rows=canonical.encode([[act, None] for act in ACTS]),
        seed=0,
    )
    try:
        outcome = decode_outcome((await sandbox.run(work, _LIMITS)).outcome)
    except (SandboxError, NotCanonical) as error:
        raise SandboxUnavailable(f"the sandbox does not work on this machine: {error}") from error
    if not isinstance(outcome, Pairs):
        raise SandboxUnavailable(f"the sandbox does not work on this machine: its trial job gave {outcome}")
    told = {act: str(result) for act, result in outcome.pairs}
    return tuple(Finding(act=act, refused=told.get(act) == REFUSED, told=told.get(act, "nothing")) for act in ACTS)


async def check_witness(sandbox: Sandbox) -> None:
    """See that all of these acts are refused. Raises SandboxUnavailable, naming what was not."""
    broken = [f"{finding.act} ({finding.told})" for finding in await examine(sandbox) if not finding.refused]
    if broken:
        raise SandboxUnavailable(f"the sandbox does not hold on this machine: a job could {', '.join(broken)}")
