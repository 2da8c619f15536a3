"""What the operator of a discovery service decides."""

from __future__ import annotations

import attrs

from ec262.domain.discovery.pool.beginners import LEASE_S
from ec262.domain.discovery.pool.pool import Tie
from ec262.domain.protocol.limits import MIN_TTL_S

ID_BYTES = 16
"""Random bytes of the ids that discovery makes."""


@attrs.frozen(kw_only=True)
class Policy:
    """Credits that a new account starts with, and whether invitations bring more; seconds for which a task is
    remembered after its deadline, and for which each movement of credits is kept on its own; how many tasks, and
    credits in their escrow, an account may have under way; what two workers of one task must not have in common; the
    share of single workers' tasks that others check; how many workers that have earned nothing yet may be in the pool,
    and how long their leases are at most."""

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
