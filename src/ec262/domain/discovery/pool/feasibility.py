"""How many teams can be filled, and which members must be drawn so that this remains possible."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ec262.domain.discovery.pool.pool import House, Member


def capacity(slots: Iterable[int], replicas: int, teams: int) -> int:
    """Return how many teams, at most ``teams``, can be filled by houses with these numbers of free slots.

    ``n`` teams can be filled exactly if the sum of min(slots, n) over the houses is at least ``n`` times ``replicas``,
    because a house can fill at most one place in each team (McNaughton's wrap-around rule, 1959). If n teams can be
    filled, so can n - 1.
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
    """Ensures that all teams that are drawn one after another can be filled without two members of one house. A house
    may be a single worker.

    A house is ample if it has at least as many free slots as there are teams to come: it could have a member in every
    one of them. Each ample house that is left out of a team loses one place. ``_spare`` is how many more places can be
    lost; when it is too small, some ample houses must be in the next team. An ample house remains ample. ``_waiting``
    holds the other houses, by the number of teams to come at which they become ample unless they are drawn before.
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
        """Return how many teams, at most ``most``, can be filled."""
        return capacity(self._free.values(), self._replicas, most)

    def expect(self, teams: int) -> None:
        """Set how many teams are to come, at most as many as are possible."""
        self._to_come = teams
        self._spare = sum(min(slots, teams) for slots in self._free.values()) - self._replicas * teams
        for name, slots in self._free.items():
            if slots >= teams:
                self._ample.add(name)
            else:
                self._waiting[slots].append(name)

    def is_ample(self, member: Member) -> bool:
        """Tell whether the member's house could have a member in all teams to come."""
        return self._house(member) in self._ample

    def ample(self) -> list[Member]:
        """Return the members of all ample houses."""
        return [member for member in self._members if self.is_ample(member)]

    def needed(self, team: Sequence[Member]) -> int:
        """Return how many more members of ample houses the next team must have, in addition to ``team``. It is 0 as
        long as there are at least twice as many ample houses as replicas."""
        if self._to_come == 1:
            return 0  # every house with a free slot is ample
        there = len(self._ample.intersection(map(self._house, team)))
        return max(0, len(self._ample) - there - self._spare)

    def passed(self, team: Sequence[Member]) -> bool:
        """Record that ``team`` was drawn, or, if it is empty, that no team was found. Tell whether more houses are
        ample now."""
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
