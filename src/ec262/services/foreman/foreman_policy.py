"""What a foreman works through, and how it runs jobs: two frozen values."""

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
    """The ports that a foreman works through."""

    discovery: ForemanDiscovery
    dialer: Dialer
    cipher: Cipher
    clock: Clock
    entropy: Entropy
    progress: Progress
    spills: Spills | None = None
    """Where data go that memory is not to hold; None: memory holds all."""


@attrs.frozen(kw_only=True)
class ForemanPolicy:
    """How a foreman runs jobs: the machine's patience, the tasks' limits, the links' deadlines; how much memory a job's
    data may take; the ``invitation`` that brings its account credits; how long discovery may hold back an answer to its
    watch; whether all of the system is ``local``, so that nobody counts credits."""

    run: RunPolicy
    link: LinkPolicy
    limits: Limits
    deadline_s: float = 600.0
    watch_s: float = 10.0
    memory: MemoryBudget = DEFAULT_BUDGET
    invitation: str | None = attrs.field(default=None, repr=False)
    local: bool = False
    slots: int | None = None
    """The most that a job is planned for: where workers share a machine, its processors are what counts."""
