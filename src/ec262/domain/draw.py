"""Drawing workers for tasks: by lot, and as many whole tasks as the free slots allow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ec262.domain.pool import Lot, Member, Pool
from ec262.domain.ports.clock import Entropy

Team = tuple[Member, ...]
"""The workers of one task: as many as it has replicas, no two of one account, all of one runtime class."""


def draw(pool: Pool, lot: Lot, entropy: Entropy) -> list[Team]:
    """Draw whole teams, at most one for each task; fewer if there are too few workers."""
    eligible = pool.eligible(lot.requirement, foreman=lot.foreman)
    free = {member.worker: pool.free_slots(member) for member in eligible}
    teams: list[Team] = []
    for candidates in ([member for member in eligible if member.worker not in lot.avoid], eligible):
        for kind in _by_runtime(candidates):
            teams += _teams(kind, free, lot, lot.tasks - len(teams), entropy)
    return teams


def _by_runtime(members: Sequence[Member]) -> list[list[Member]]:
    """Group by runtime class, the largest group first."""
    kinds = defaultdict(list)
    for member in members:
        kinds[member.runtime].append(member)
    return sorted(kinds.values(), key=len, reverse=True)


def _teams(members: Sequence[Member], free: dict[str, int], lot: Lot, tasks: int, entropy: Entropy) -> list[Team]:
    """Fill up to ``tasks`` teams out of members of one runtime class, taking their slots out of ``free``."""
    teams = []
    for remaining in range(_capacity([free[member.worker] for member in members], lot.replicas, tasks), 0, -1):
        order = entropy.shuffled([member for member in members if free[member.worker] > 0])
        order.sort(key=lambda member: member.worker in lot.avoid)
        team = _team(order, free, lot.replicas, remaining)
        for member in team:
            free[member.worker] -= 1
        teams.append(team)
    return teams


def _team(order: Sequence[Member], free: dict[str, int], replicas: int, remaining: int) -> Team:
    """Take the first of a random order, but so that the other ``remaining - 1`` teams can still be filled.

    A worker with ``remaining`` free slots or more could sit in every team. For each such worker left out, a place that
    it might have taken is lost; when no more places can be spared, some of them have to be in this team.
    """
    ample = [member for member in order if free[member.worker] >= remaining]
    spare = sum(min(free[member.worker], remaining) for member in order) - replicas * remaining
    needed = ample[: max(0, len(ample) - spare)]
    chosen = {member.worker for member in needed}
    others = [member for member in order if member.worker not in chosen]
    return tuple(needed + others[: replicas - len(needed)])


def _capacity(slots: Sequence[int], replicas: int, tasks: int) -> int:
    """Return how many teams can be filled, at most ``tasks``.

    ``n`` teams can be filled exactly if min(slots, n), summed over the workers, reaches ``n`` times ``replicas``: no
    worker is of use more than once a team (McNaughton's wrap-around rule, 1959). What holds for n holds for n - 1.
    """
    possible, impossible = 0, tasks + 1
    while impossible - possible > 1:
        middle = (possible + impossible) // 2
        if sum(min(count, middle) for count in slots) >= replicas * middle:
            possible = middle
        else:
            impossible = middle
    return possible
