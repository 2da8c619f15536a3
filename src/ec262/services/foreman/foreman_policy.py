"""The ports and the policy of a foreman, as two frozen values."""

from __future__ import annotations

import attrs

from ec262.domain.foreman.data.memory_budget import DEFAULT_BUDGET, MemoryBudget
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.ports.cipher import Cipher
from ec262.domain.ports.clock import Clock, Entropy
from ec262.domain.ports.discovery import ForemanDiscovery
from ec262.domain.ports.progress import Progress
from ec262.domain.ports.spill import Spills
from ec262.domain.ports.transport import Dialer
from ec262.domain.work.work import Limits
from ec262.services.foreman.workers.worker_link import LinkPolicy


@attrs.frozen(kw_only=True)
class ForemanPorts:
    """The ports that a foreman uses."""

    discovery: ForemanDiscovery
    dialer: Dialer
    cipher: Cipher
    clock: Clock
    entropy: Entropy
    progress: Progress
    spills: Spills | None = None
    """Where data beyond the memory budget goes; None: everything stays in memory."""


@attrs.frozen(kw_only=True)
class ForemanPolicy:
    """How a foreman runs jobs: its patience, the limits of tasks, the deadlines of links, and the memory for a job's
    data. ``invitation`` brings its account credits. Discovery may hold back the reply to a long poll for ``watch_s``.
    ``local`` means that the whole system runs on this machine, so that credits do not matter."""

    run: RunPolicy
    link: LinkPolicy
    limits: Limits
    deadline_s: float = 600.0
    watch_s: float = 10.0
    memory: MemoryBudget = DEFAULT_BUDGET
    invitation: str | None = attrs.field(default=None, repr=False)
    local: bool = False
    slots: int | None = None
    """The most slots that a job is planned for: where workers share a machine, its processors set the limit."""
