"""Random sampling of members, organized so that members with a tie to others are skipped at no cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import NamedTuple

from ec262.domain.discovery.pool.pool import HOUSES, House, Member, Tie
from ec262.domain.ports.clock import Entropy

Ties = frozenset[Tie]
Met = Sequence[tuple[House, Collection[str]]]
"""The owners and blocks that are already in a team, each with the function that returns a member's owner or block."""

_LOT_BYTES = 8
"""The remainder of 64 random bits has no measurable bias for any pool that fits in memory."""

_TRIES = 16
"""How many draws may fail because of a tie before all members are searched."""

_BIG_SHARE, _BIG = 8, 32
"""An owner or block is big if it has at least one in ``_BIG_SHARE`` members and at least ``_BIG`` of them: it gets urns
of its own."""


class Label(NamedTuple):
    """What the members in one urn have in common; ``owner`` and ``block`` are set only if they are big."""

    avoided: bool
    marks: frozenset[Hashable]
    owner: str | None
    block: str | None


def common(members: Collection[Member], ties: Ties) -> Met:
    """Return the owners and blocks of these members, for the given ties."""
    return [(house, set(map(house, members))) for house in [HOUSES[tie] for tie in ties]]


def has_tie(thing: Member | Label, met: Met) -> bool:
    """Tell whether a member, or every member of an urn, has a tie to the members of ``met``."""
    for house, names in met:  # noqa: SIM110 - half the time of any(...), for each member drawn
        if house(thing) in names:
            return True
    return False


def without_ties(members: Sequence[Member], met: Met) -> Sequence[Member]:
    """Return the members without a tie to the members of ``met``."""
    if not any(names for _, names in met):
        return members
    return [member for member in members if not has_tie(member, met)]


class Urns:
    """An unordered collection of members, from which any member can be removed in constant time."""

    def __init__(self, members: Sequence[Member], entropy: Entropy) -> None:
        """``members`` are the members that are expected to be put in: they determine which owners and blocks are
        big."""
        self._entropy = entropy
        self._urns: defaultdict[Label, list[Member]] = defaultdict(list)
        self._places: dict[str, tuple[Label, int]] = {}
        self._owners = _big([member.owner for member in members])
        self._blocks = _big([member.block for member in members])

    def __contains__(self, member: Member) -> bool:
        return member.worker in self._places

    def put(self, member: Member, *, avoided: bool, marks: frozenset[Hashable]) -> None:
        """Add a member."""
        owner = member.owner if member.owner in self._owners else None
        block = member.block if member.block in self._blocks else None
        label = Label(avoided, marks, owner, block)
        urn = self._urns[label]
        self._places[member.worker] = label, len(urn)
        urn.append(member)

    def take(self, member: Member) -> None:
        """Remove a member; the last member of its urn moves to its place."""
        label, place = self._places.pop(member.worker)
        urn = self._urns[label]
        last = urn.pop()
        if last is not member:
            urn[place] = last
            self._places[last.worker] = label, place

    def draw(self, met: Met, *, avoided: bool, mark: Hashable | None) -> Member | None:
        """Remove and return a random member that has no tie to ``met``, is ``avoided`` or not, and has the mark, if one
        is given. Return None if there is none."""
        urns = [
            urn
            for label, urn in self._urns.items()
            if urn and label.avoided is avoided and (mark is None or mark in label.marks) and not has_tie(label, met)
        ]
        member = self._any(urns, met)
        if member is not None:
            self.take(member)
        return member

    def _any(self, urns: Sequence[Sequence[Member]], met: Met) -> Member | None:
        total = sum(map(len, urns))
        for _ in range(min(_TRIES, total)):
            member = _at(self._number(total), urns)
            if not has_tie(member, met):
                return member
        rest = [member for urn in urns for member in without_ties(urn, met)]
        return rest[self._number(len(rest))] if rest else None

    def _number(self, below: int) -> int:
        return int.from_bytes(self._entropy.token(_LOT_BYTES), "big") % below


def _at(place: int, urns: Sequence[Sequence[Member]]) -> Member:
    """Return the member at a place, counted across all urns."""
    for urn in urns:
        if place < len(urn):
            break
        place -= len(urn)
    return urn[place]


def _big(names: Iterable[str]) -> set[str]:
    """Return the names that are big among themselves and all smaller ones, from the largest to the first that is not
    big: if one has nearly all members, the next may be big among the rest."""
    sizes = Counter(names)
    rest, big = sizes.total(), set()
    for name, size in sizes.most_common():
        if size < _BIG or size * _BIG_SHARE < rest:
            break
        big.add(name)
        rest -= size
    return big
