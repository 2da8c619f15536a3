"""How many teams can be filled, and who must not be left out so that they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ec262.domain.discovery.pool.pool import House, Member


def capacity(slots: Iterable[int], replicas: int, teams: int) -> int:
    """Return how many teams can be filled, at most ``teams``, by houses with so many free slots.

    ``n`` teams can be filled exactly if min(slots, n), summed over the houses, reaches ``n`` times ``replicas``: no
    house is of use more than once a team (McNaughton's wrap-around rule, 1959). What holds for n holds for n - 1.
    """
    sizes = Counter(slots).items()
    possible, impossible = 0, teams + 1
    while impossible - possible > 1:
        middle = (possible + impossible) // 2
        if sum(min(size, middle) * count for size, count in sizes) >= replicas * middle:
            possible = middle
        else:
            impossible = middle
    return possible


class Foresight:
    """Sees to it that teams which are drawn one after another can all be filled, no two members of which are of one
    house. A worker alone may be one.

    A house with as many free slots as there are teams to come, or more, is ample: it could be in every one of them.
    For each ample house left out of a team, a place that it might have taken is lost. ``_spare`` is how many more
    places can be lost; when it does not suffice, some of the ample ones have to be in the team. Nobody ceases to be
    ample; ``_waiting`` has the others, by the number of teams to come at which they are, if not drawn until then.
    """

    def __init__(self, house: House, members: Sequence[Member], free: Mapping[str, int], replicas: int) -> None:
        self._house = house
        self._members = members
        self._replicas = replicas
        self._free: defaultdict[str, int] = defaultdict(int)
        for member in members:
            self._free[house(member)] += free[member.worker]
        self._to_come = self._spare = 0
        self._ample: set[str] = set()
        self._waiting: defaultdict[int, list[str]] = defaultdict(list)

    def possible(self, most: int) -> int:
        """Return how many teams can be filled, at most so many."""
        return capacity(self._free.values(), self._replicas, most)

    def expect(self, teams: int) -> None:
        """Let so many teams be to come: at most those that are possible."""
        self._to_come = teams
        self._spare = sum(min(slots, teams) for slots in self._free.values()) - self._replicas * teams
        for name, slots in self._free.items():
            if slots >= teams:
                self._ample.add(name)
            else:
                self._waiting[slots].append(name)

    def is_ample(self, member: Member) -> bool:
        """Tell whether the member's house could be in all teams to come."""
        return self._house(member) in self._ample

    def ample(self) -> list[Member]:
        """Return the members of all ample houses."""
        return [member for member in self._members if self.is_ample(member)]

    def needed(self, team: Sequence[Member]) -> int:
        """Return how many more of the ample the next team must have, beside these. It is none while there are twice as
        many ample houses as replicas, or more."""
        if self._to_come == 1:
            return 0  # everybody with a free slot is ample
        there = len(self._ample.intersection(map(self._house, team)))
        return max(0, len(self._ample) - there - self._spare)

    def passed(self, team: Sequence[Member]) -> bool:
        """Count one of the teams to come, which was this or, without members, could not be found; tell whether there
        are more ample houses now."""
        names, free, ample = list(map(self._house, team)), self._free, self._ample
        left_out = len(ample) - len(ample.intersection(names))
        self._spare += self._replicas - len(team) - left_out
        self._to_come -= 1
        for name in names:
            free[name] -= 1
            if name not in ample:
                self._waiting[free[name]].append(name)
        risen = [name for name in self._waiting.pop(self._to_come, ()) if self._free[name] == self._to_come]
        self._ample.update(risen)
        return bool(risen)
