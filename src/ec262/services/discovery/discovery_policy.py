"""The operator's settings of a discovery service."""

from __future__ import annotations

import attrs

from ec262.domain.discovery.pool.beginners import LEASE_S
from ec262.domain.discovery.pool.pool import Tie
from ec262.domain.protocol.limits import MIN_TTL_S

ID_BYTES = 16
"""Random bytes in an id that discovery makes."""


@attrs.frozen(kw_only=True)
class Policy:
    """What the operator decides.

    ``grant`` is what a new account starts with; ``invitations`` says whether invitations add credits. A task is
    remembered for ``retention_s`` after its deadline, and single movements of credits are kept for ``history_s``. An
    account may have ``max_open_tasks`` open tasks and ``max_escrow`` credits in escrow. No two workers of a task may
    share anything listed in ``apart``. ``audit_rate`` is the share of lone workers' tasks that are audited. At most
    ``max_beginners`` beginners may be in the pool, with leases of at most ``beginner_lease_s``.
    """

    grant: int = attrs.field(default=12, validator=attrs.validators.ge(0))
    invitations: bool = True
    retention_s: float = attrs.field(default=24 * 3600.0, validator=attrs.validators.ge(0))
    history_s: float = attrs.field(default=30 * 24 * 3600.0, validator=attrs.validators.ge(0))
    max_open_tasks: int = attrs.field(default=10_000, validator=attrs.validators.ge(1))
    max_escrow: int = attrs.field(default=100_000, validator=attrs.validators.ge(1))
    apart: frozenset[Tie] = frozenset()
    audit_rate: float = attrs.field(default=0.08, validator=[attrs.validators.ge(0.01), attrs.validators.le(1)])
    max_beginners: int = attrs.field(default=256, validator=attrs.validators.ge(1))
    beginner_lease_s: float = attrs.field(default=LEASE_S, validator=attrs.validators.ge(MIN_TTL_S))
