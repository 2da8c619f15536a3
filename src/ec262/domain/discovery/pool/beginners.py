"""Places in the pool for beginners: workers whose accounts have not earned anything yet.

Accounts cost nothing, and every purchase looks at the whole pool. So the number of places for beginners is limited, and
address blocks with few beginners take precedence over blocks with many. Workers that have earned need no such place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ec262.domain.discovery.pool.pool import Member
from ec262.domain.errors import DiscoveryUnavailable

LEASE_S = 60.0
"""The longest lease of a beginner: one that disappears leaves the pool soon."""


def who_makes_way(beginner: Member, others: Sequence[Member], *, places: int) -> Member | None:
    """Return the beginner in the pool that a new one replaces; None if there is a free place.

    It belongs to the address block with the most beginners, if that block has at least two more than the new beginner's
    block; of these, it is the one whose lease ends first. Raises DiscoveryUnavailable if there is no such block.
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
