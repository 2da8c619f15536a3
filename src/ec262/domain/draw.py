"""Drawing workers for tasks: by lot, and as many whole tasks as the free slots allow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ec262.domain.pool import Lot, Member, Pool
from ec262.domain.ports.clock import Entropy

Team = tuple[Member, ...]
"""The workers of one task: as many as it has replicas, no two of one account, all of one runtime class."""

_AMPLE, _ANYBODY = (True,), (True, False)
_LOT_BYTES = 8
"""A remainder of 64 random bits favors no member of a pool that fits in memory by anything that could be measured."""


def draw(pool: Pool, lot: Lot, entropy: Entropy) -> list[Team]:
    """Draw whole teams, at most one for each task; fewer if there are too few workers.

    The time is proportional to the members and the replicas drawn, not to their product.
    """
    eligible = pool.eligible(lot.requirement, foreman=lot.foreman)
    free = {member.worker: pool.free_slots(member) for member in eligible}
    teams: list[Team] = []
    for candidates in ([member for member in eligible if member.worker not in lot.avoid], eligible):
        for kind in _by_runtime(candidates):
            count = _capacity([free[member.worker] for member in kind], lot.replicas, lot.tasks - len(teams))
            crew = _Crew(kind, free, lot, count, entropy)
            teams += [crew.team() for _ in range(count)]
    return teams


def _by_runtime(members: Sequence[Member]) -> list[list[Member]]:
    """Group by runtime class, the largest group first."""
    kinds = defaultdict(list)
    for member in members:
        kinds[member.runtime].append(member)
    return sorted(kinds.values(), key=len, reverse=True)


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


class _Urn:
    """Members in no order, any of which can be taken out at once."""

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, place: int) -> Member:
        return self._members[place]

    def put(self, member: Member) -> None:
        self._places[member.worker] = len(self._members)
        self._members.append(member)

    def take(self, member: Member) -> None:
        """Take a member out; the last one gets its place."""
        last = self._members[-1]
        place = self._places[member.worker]
        self._members[place], self._places[last.worker] = last, place
        self._members.pop()
        del self._places[member.worker]


class _Crew:
    """Members of one runtime class that fill ``count`` teams, one after another, taking their slots out of ``free``.

    A member with as many free slots as there are teams to come, or more, is ample: it could sit in every one of them.
    For each ample member left out of a team, a place that it might have taken is lost. ``_spare`` is how many more
    places can be lost; when it does not suffice, some of the ample ones have to be in the team. Nobody ceases to be
    ample; ``_waiting`` has the others, by the number of teams to come at which they are, if not drawn until then.
    """

    def __init__(self, members: Sequence[Member], free: dict[str, int], lot: Lot, count: int, entropy: Entropy) -> None:
        self._free = free
        self._lot = lot
        self._to_come = count
        self._entropy = entropy
        self._spare = sum(min(free[member.worker], count) for member in members) - lot.replicas * count
        self._urns = {(ample, avoided): _Urn() for ample in (True, False) for avoided in (True, False)}
        self._waiting: defaultdict[int, list[Member]] = defaultdict(list)
        for member in members:
            self._put(member)

    def team(self) -> Team:
        """Draw the next team: by lot, but so that those after it can still be filled."""
        ample = self._ample()
        needed = max(0, ample - self._spare)
        team = [self._pick(_AMPLE) for _ in range(needed)]
        team += [self._pick(_ANYBODY) for _ in range(self._lot.replicas - needed)]
        self._spare -= self._ample()
        self._to_come -= 1
        for member in team:
            self._free[member.worker] -= 1
            self._put(member)
        for member in self._waiting.pop(self._to_come, ()):
            if self._free[member.worker] == self._to_come:
                self._urns[False, self._avoided(member)].take(member)
                self._urns[True, self._avoided(member)].put(member)
        return tuple(team)

    def _pick(self, kinds: Sequence[bool]) -> Member:
        """Take one of the ample, or of everybody, by lot; an avoided one only if there is no other."""
        urns = [self._urns[ample, False] for ample in kinds]
        if not any(urns):
            urns = [self._urns[ample, True] for ample in kinds]
        place = int.from_bytes(self._entropy.token(_LOT_BYTES), "big") % sum(map(len, urns))
        urn = urns[0]
        if place >= len(urn):
            place, urn = place - len(urn), urns[1]
        member = urn[place]
        urn.take(member)
        return member

    def _put(self, member: Member) -> None:
        free = self._free[member.worker]
        if free >= self._to_come:
            self._urns[True, self._avoided(member)].put(member)
        elif free > 0:
            self._urns[False, self._avoided(member)].put(member)
            self._waiting[free].append(member)

    def _ample(self) -> int:
        return len(self._urns[True, True]) + len(self._urns[True, False])

    def _avoided(self, member: Member) -> bool:
        return member.worker in self._lot.avoid
