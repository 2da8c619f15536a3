"""The random draw of workers for tasks: it fills as many whole tasks as the free slots allow, and avoids two members of
one owner or address block where it can.

As many teams as possible are drawn without any tie, first those without avoided workers. Then come teams that need one
of the ties, and last those that need both. docs/adr/0035 explains this order.
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

    A worker that still computes a decided task has one slot less. It is drawn regardless of this only if the other
    workers could not fill a single team even if all were free; otherwise tasks that do not need it would wait for it.
    """
    teams = _drawn(pool, lot, entropy)
    if teams or not pool.late or not lot.tasks or _drawn(pool.all_punctual(lot), attrs.evolve(lot, tasks=1), entropy):
        return teams
    return _drawn(pool.regardless_of_late(), lot, entropy)


def _drawn(pool: Pool, lot: Lot, entropy: Entropy) -> list[Team]:
    """Draw from the workers with free slots.

    Keeping workers with a tie apart costs no team, unless it is a condition; then there are as many teams as that one
    tie allows. If both ties are conditions, a greedy search finds the teams. The time is proportional to the number of
    members and replicas drawn, not to their product.
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
