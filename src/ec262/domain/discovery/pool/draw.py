"""Drawing workers for tasks: by lot, as many whole tasks as the free slots allow, and no two of one kind if that can be
helped.

Teams without any tie come first, as many as there can be: those without avoided workers, then the others. Then come
teams that cannot do without one of the ties, and last those that cannot do without both. Why in this order:
docs/adr/0035.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import attrs

from ec262.domain.discovery.pool.pool import Lot, Member, Pool
from ec262.domain.discovery.pool.teams import LEVELS, Crew, Team
from ec262.domain.ports.clock import Entropy

__all__ = ["Team", "draw"]


def draw(pool: Pool, lot: Lot, entropy: Entropy) -> list[Team]:
    """Draw whole teams, at most one for each task; fewer if there are too few workers.

    A worker that still computes what is decided has a slot less. Only where the others could not fill a single team,
    were they all free, is it drawn all the same: it would be waited for by tasks that can do without it.
    """
    teams = _drawn(pool, lot, entropy)
    if teams or not pool.late or not lot.tasks or _drawn(pool.all_punctual(lot), attrs.evolve(lot, tasks=1), entropy):
        return teams
    return _drawn(pool.regardless_of_late(), lot, entropy)


def _drawn(pool: Pool, lot: Lot, entropy: Entropy) -> list[Team]:
    """Draw from those who have free slots.

    To keep workers with a tie apart costs no team, unless it is a condition; then, too, there are as many as that one
    tie allows. Where both ties are conditions there are those that are found one after another. The time is
    proportional to the members and the replicas drawn, not to their product.
    """
    candidates = pool.candidates(lot)
    free = {member.worker: pool.free_slots(member) for member in candidates}
    if sum(map(bool, free.values())) < lot.replicas:
        return []
    company, kinds = pool.company(lot), _by_runtime(candidates)
    teams: list[Team] = []
    for ties in (level for level in LEVELS if level >= lot.apart):
        for avoided in (lot.avoid, frozenset()) if lot.avoid else (frozenset(),):
            for kind in kinds:
                if len(teams) == lot.tasks:
                    return teams
                members = [member for member in kind if free[member.worker] and member.worker not in avoided]
                crew = Crew(members, ties, lot=lot, company=company, free=free, entropy=entropy)
                teams += crew.teams(lot.tasks - len(teams))
    return teams


def _by_runtime(members: Sequence[Member]) -> list[list[Member]]:
    """Group by runtime class, the largest group first."""
    kinds = defaultdict(list)
    for member in members:
        kinds[member.runtime].append(member)
    return sorted(kinds.values(), key=len, reverse=True)
