"""Which draws a foreman could steer, and how independent agreeing workers are of each other.

A foreman can steer a draw by avoiding workers, by a requirement that few meet, by its own view of workers, and by
buying while only its accomplices have free slots. All of these leave few workers to draw from. So a draw is open if it
was made from most of the pool. Workers are counted by address block, and within a block by owner: accounts cost
nothing, so many of them in one block count as much as one.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

import attrs

from ec262.domain.discovery.pool.pool import Lot, Member, Pool
from ec262.domain.discovery.pool.teams import Team
from ec262.domain.work.runtime import RuntimeClass

OPEN = 0.75
"""The share of the pool from which a draw must be made to be open. If one worker in five is a saboteur, at most one in
four of those drawn from is."""

SAME_BLOCK = 0.25
"""The weight of an agreement of two workers in one address block."""

REMEMBERED = 16
"""How many of the last partners of a worker are remembered."""

_TAG_DIGITS = 8


@attrs.frozen(kw_only=True)
class House:
    """The owner and the address block of a worker or foreman; an unknown block is empty."""

    owner: str
    block: str = ""

    @property
    def tag(self) -> str:
        """A short digest of the owner."""
        return hashlib.sha256(self.owner.encode()).hexdigest()[:_TAG_DIGITS]


class Openness:
    """What share of the pool a lot's draws are made from, while teams take slots. Only workers of one runtime class are
    drawn together, so each class is counted on its own."""

    def __init__(self, pool: Pool, lot: Lot, drawable: Sequence[Member]) -> None:
        """``drawable`` are the members that can be drawn, including busy ones."""
        self._avoids = bool(lot.avoid)
        owners: defaultdict[str, set[str]] = defaultdict(set)
        for member in pool.members:
            if member.worker != lot.foreman and member.worker not in lot.company:
                owners[member.block].add(member.owner)
        self._worth = {block: 1 / (len(owners) * len(group)) for block, group in owners.items()}
        self._free: Counter[tuple[RuntimeClass, str, str]] = Counter()
        self._shares: defaultdict[RuntimeClass, float] = defaultdict(float)
        for member in drawable:
            self._add(member, pool.free_slots(member))

    def _add(self, member: Member, slots: int) -> None:
        place = member.runtime, member.block, member.owner
        before = self._free[place]
        self._free[place] = before + slots
        if (before > 0) is not (before + slots > 0):
            worth = self._worth.get(member.block, 0.0)
            self._shares[member.runtime] += worth if slots > 0 else -worth

    def is_open(self, runtime: RuntimeClass) -> bool:
        """Tell whether a team of this runtime class, drawn now, would be drawn from most of the pool."""
        return not self._avoids and self._shares[runtime] >= OPEN - 1e-9

    def take(self, team: Sequence[Member]) -> bool:
        """Take a team's slots, and tell whether its draw was open."""
        was_open = bool(team) and self.is_open(team[0].runtime)
        for member in team:
            self._add(member, -1)
        return was_open


def steered(pool: Pool, lot: Lot, drawable: Sequence[Member], teams: Sequence[Team]) -> tuple[bool, ...]:
    """Return for each team, in the order drawn, whether its foreman could steer the draw."""
    if lot.avoid or not teams:
        return (True,) * len(teams)
    openness = Openness(pool, lot, drawable)
    return tuple([not openness.take(team) for team in teams])


def fair(pool: Pool, lot: Lot, drawable: Sequence[Member], teams: Sequence[Team]) -> list[Team]:
    """Return the teams that were drawn while most of the ``drawable`` had free slots: chance chose them, not someone
    who kept the other workers busy."""
    lot = attrs.evolve(lot, avoid=frozenset())
    openness = Openness(attrs.evolve(pool, members=tuple(drawable)), lot, drawable)
    return [team for team in teams if openness.take(team)]


def are_few(pool: Pool, some: Collection[Member], others: Collection[Member]) -> bool:
    """Tell whether ``some`` members of a pool are less than half as many as ``others``, counted by address block, and
    within a block by owner."""
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for member in pool.members:
        owners[member.block].add(member.owner)
    sizes = {block: len(names) for block, names in owners.items()}
    return 2 * _blocks(some, sizes) < _blocks(others, sizes)


def _blocks(members: Collection[Member], sizes: Mapping[str, int]) -> float:
    """Return the number of address blocks of these members; each owner counts as its fraction of its block."""
    return math.fsum(1 / sizes[block] for block, _ in {(member.block, member.owner) for member in members})


def independence(worker: House, others: Mapping[str, House], foreman: House, partners: Sequence[str]) -> float:
    """Return the weight, from 0 to 1, of a worker's agreement with ``others`` (by name) in the general record: the
    weight of the agreement with the most independent of them. ``partners`` are the tags of the workers it agreed with
    last. Workers that belong to the foreman have no weight."""
    if related(worker, foreman):
        return 0.0
    recent = Counter(partners)
    return max([_bond(worker, each, recent) for each in others.values() if not related(each, foreman)], default=0.0)


def related(one: House, other: House) -> bool:
    """Tell whether a worker and a foreman share an owner or an address block."""
    return one.owner == other.owner or (bool(one.block) and one.block == other.block)


def _bond(worker: House, other: House, recent: Mapping[str, int]) -> float:
    if worker.owner == other.owner:
        return 0.0
    worth = SAME_BLOCK if worker.block == other.block else 1.0
    return float(worth / (1 << recent.get(other.tag, 0)))
