"""Places in the pool for beginners: workers of accounts that have earned nothing yet.

Accounts cost nothing, and every purchase looks at the whole pool. So beginners have a limited number of places, and
whoever has few of these goes before whoever has many, counted by address block. Who has earned needs none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ec262.domain.discovery.pool.pool import Member
from ec262.domain.errors import DiscoveryUnavailable

LEASE_S = 60.0
"""The longest lease of a beginner: one that is gone soon leaves the pool."""


def who_makes_way(beginner: Member, others: Sequence[Member], *, places: int) -> Member | None:
    """Return which of the beginners in the pool a further one takes the place of; None if there is a free place.

    It is one of the address block that has most, if that has at least two more than the beginner's: the one whose
    lease ends first. Raises DiscoveryUnavailable if there is no such block.
    """
    if len(others) < places:
        return None
    sizes = Counter(member.block for member in others)
    block, most = sizes.most_common(1)[0]
    if most < sizes[beginner.block] + 2:
        raise DiscoveryUnavailable(
            f"all {places} places for workers that have not earned anything yet are taken: try again later"
        )
    return min((member for member in others if member.block == block), key=lambda member: member.expires_at)
