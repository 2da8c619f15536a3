"""Teams of comparable workers, drawn one after another."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from ec262.domain.discovery.pool.feasibility import Foresight
from ec262.domain.discovery.pool.pool import HOUSES, House, Lot, Member, Tie
from ec262.domain.discovery.pool.sampler import Ties, Urns, common, without_ties
from ec262.domain.ports.clock import Entropy

Team = tuple[Member, ...]
"""The workers of one task: one for each replica, all of different accounts and of one runtime class."""

LEVELS: tuple[Ties, ...] = (
    frozenset({Tie.BLOCK, Tie.OWNER}),
    frozenset({Tie.BLOCK}),
    frozenset({Tie.OWNER}),
    frozenset(),
)
"""The ties that a team can be free of, best first."""

_WORKER: House = attrgetter("worker")

_NONE: frozenset[Foresight] = frozenset()

_RETRIES = 64
"""How often, in total, a team that could not be completed is started again."""


class Crew:
    """Members of one runtime class that form teams free of the ``ties``. Use it once.

    No team costs another one: the number of possible teams remains what the ties that are the lot's conditions allow.
    Within a team, an additional tie is worse than an avoided worker. ``free`` maps members to their free slots, at
    least one each; the slots that teams take are subtracted.
    """

    def __init__(
        self,
        members: Sequence[Member],
        ties: Ties,
        *,
        lot: Lot,
        company: Sequence[Member],
        free: dict[str, int],
        entropy: Entropy,
    ) -> None:
        self._members = members
        self._ties = ties
        self._lot = lot
        self._company = company
        self._free = free
        self._entropy = entropy
        self._preferences = [level for level in LEVELS if level >= ties and self._discriminates(level)]
        self._foresights: list[Foresight] = []
        self._marked: set[Foresight] = set()
        self._retries = _RETRIES

    def teams(self, most: int) -> list[Team]:
        """Draw as many teams as possible, at most ``most``."""
        strangers = without_ties(self._members, common(self._company, self._ties))
        wish = self._look_ahead(strangers, self._ties)
        slots = sum([self._free[member.worker] for member in strangers])
        count = min([most, slots // self._lot.replicas, *(foresight.possible(most) for foresight in wish)])
        if not count:
            return []
        must = self._look_ahead(self._members, self._lot.apart) if self._ties > self._lot.apart else []
        for foresight in must:
            possible = foresight.possible(most)
            foresight.expect(possible)
            count = min(count, possible)
        for foresight in wish:
            foresight.expect(count)
        self._foresights = [*must, *wish]
        self._urns = Urns(strangers, self._entropy)
        for member in strangers:
            self._put(member)
        teams: list[Team] = []
        for _ in range(count):
            team = self._team()
            self._pass(team, self._foresights if team else wish)
            if team:
                teams.append(team)
        return teams

    def _discriminates(self, level: Ties) -> bool:
        """Tell whether avoiding these ties makes a difference: if all members are in one network, they share one block,
        and no member is preferable to another."""
        houses = [HOUSES[tie] for tie in level - self._ties]
        return all(any(house(each) != house(self._members[0]) for each in self._members) for house in houses)

    def _look_ahead(self, members: Sequence[Member], ties: Ties) -> list[Foresight]:
        if self._lot.replicas == 1:
            return []  # a team of one never prevents another team from being filled
        houses = [HOUSES[tie] for tie in Tie if tie in ties] or [_WORKER]
        return [Foresight(house, members, self._free, self._lot.replicas) for house in houses]

    def _pass(self, team: Team, foresights: Sequence[Foresight]) -> None:
        for foresight in foresights:
            if foresight.passed(team):
                self._marked.discard(foresight)
        for member in team:
            self._free[member.worker] -= 1
            self._put(member)

    def _team(self) -> Team:
        """Draw the next team at random, but so that later teams can still be filled. Return an empty team if none was
        found."""
        while True:
            team: list[Member] = []
            if self._complete(team):
                return tuple(team)
            for member in team:
                self._put(member)
            if self._retries == 0:
                return ()
            self._retries -= 1

    def _complete(self, team: list[Member]) -> bool:
        for foresight in self._foresights:
            needed = min(foresight.needed(team), self._lot.replicas - len(team))
            if needed:
                self._mark_ample(foresight)
                if not self._add_all(team, needed, mark=foresight):
                    return False
        return self._add_all(team, self._lot.replicas - len(team))

    def _add_all(self, team: list[Member], count: int, *, mark: Foresight | None = None) -> bool:
        for _ in range(count):  # noqa: SIM110 - faster than all(...), and every team is drawn this way
            if not self._add_to(team, mark=mark):
                return False
        return True

    def _add_to(self, team: list[Member], *, mark: Foresight | None = None) -> bool:
        for ties in self._preferences:
            met = common((*self._company, *team), ties)
            for avoided in (False, True) if self._lot.avoid else (False,):
                member = self._urns.draw(met, avoided=avoided, mark=mark)
                if member is not None:
                    team.append(member)
                    return True
        return False

    def _mark_ample(self, foresight: Foresight) -> None:
        """Mark a foresight's ample members in the urns. This is done only when it matters, which is rare."""
        if foresight not in self._marked:
            self._marked.add(foresight)
            for member in foresight.ample():
                if member in self._urns:
                    self._urns.take(member)
                    self._put(member)

    def _put(self, member: Member) -> None:
        if self._free[member.worker]:
            marks = frozenset([each for each in self._marked if each.is_ample(member)]) if self._marked else _NONE
            self._urns.put(member, avoided=member.worker in self._lot.avoid, marks=marks)
