"""See for oneself that the sandbox holds, before a stranger's code is let in."""

from __future__ import annotations

import pickle

from ec262.adapters.sandbox.linux.child.witness import ACTS, REFUSED, attempt
from ec262.domain import canonical
from ec262.domain.errors import NotCanonical, SandboxError, SandboxUnavailable
from ec262.domain.job import Limits, Phase, Work
from ec262.domain.outcome import Pairs, decode_outcome
from ec262.domain.ports.sandbox import Sandbox

_LIMITS = Limits(cpu_s=10, wall_s=10, memory_bytes=64 << 20)


async def check_witness(sandbox: Sandbox) -> None:
    """Run a job that tries what no job may do. Raises SandboxUnavailable, naming what was not refused."""
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
    results = dict(outcome.pairs)
    broken = [f"{act} ({results.get(act)})" for act in ACTS if results.get(act) != REFUSED]
    if broken:
        raise SandboxUnavailable(f"the sandbox does not hold on this machine: a job could {', '.join(broken)}")
