"""The selection of workers for a foreman's tasks, under rules that weigh trust.

Known workers are drawn first, and workers with enough trust compute alone. Newcomers are drawn together with others, so
that they are checked and become known. Only if hardly any worker is known are new tasks computed by newcomers alone,
many for each task. So a saboteur that keeps returning under new names never has a task to itself.

Workers are counted by address block and owner, not by account or slot, and a team that must agree has no two workers of
one block if there are enough blocks: a flood of new accounts changes nothing (docs/adr/0086).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import attrs

from ec262.domain.discovery.pool.draw import Team, draw
from ec262.domain.discovery.pool.pool import HOUSES, Lot, Member, Pool, Tie
from ec262.domain.discovery.pool.steering import are_few, fair, steered
from ec262.domain.discovery.tasks import Task
from ec262.domain.ports.clock import Entropy
from ec262.domain.verification.credibility import ESTABLISHED, NOTHING_KNOWN, Trust
from ec262.domain.verification.rules import VerificationRule, parse_rule

TRAINING = 0.25
"""The share of the tasks of lone workers that are audited as long as there are newcomers."""

_LOT_BYTES = 8


@attrs.frozen(kw_only=True, slots=False)
class Company:
    """The eligible workers in a pool, and how far they are known: ``trusts`` maps workers to the trust in them, and
    ``probation`` holds those that lied recently. If ``anchored`` is set, the pool has anchors, from which all trust
    descends."""

    pool: Pool
    trusts: Mapping[str, Trust]
    probation: frozenset[str]
    anchored: bool = False

    def trust(self, member: Member) -> Trust:
        """Return the trust in a member."""
        return self.trusts.get(member.worker, NOTHING_KNOWN)

    def is_newcomer(self, member: Member) -> bool:
        """Tell whether a member is not established yet, and neither it nor a neighbor in its block lied recently."""
        return self._is_innocent(member) and self.trust(member).agreed < ESTABLISHED

    def is_established(self, member: Member) -> bool:
        """Tell whether a member is established and did not lie recently."""
        return member.worker not in self.probation and self.trust(member).agreed >= ESTABLISHED

    def _is_innocent(self, member: Member) -> bool:
        """Tell whether no worker in the member's block lied recently: a caught saboteur may come back at a neighboring
        address. If all workers are in one block, neighbors do not matter."""
        return member.worker not in self.probation and member.block not in self._blocks_of_liars

    @cached_property
    def _blocks_of_liars(self) -> frozenset[str]:
        liars = frozenset([member.block for member in self.pool.members if member.worker in self.probation])
        return liars if any(member.block not in liars for member in self.pool.members) else frozenset()

    def has_newcomers(self, candidates: Sequence[Member]) -> bool:
        """Tell whether there is a newcomer that can be drawn now."""
        return any(self.pool.free_slots(member) and self.is_newcomer(member) for member in candidates)


@attrs.frozen(kw_only=True)
class Selection:
    """The teams drawn, and for each whether its task is audited and whether the foreman could steer the draw. ``lot``
    is the order for the last teams, which would also be the order for further ones."""

    teams: tuple[Team, ...]
    audited: tuple[bool, ...]
    steered: tuple[bool, ...]
    lot: Lot


def select(
    company: Company, lot: Lot, rule: VerificationRule, entropy: Entropy, *, audit_rate: float, credits: int
) -> Selection:
    """Draw teams for new tasks: at most one for each task of the lot, and at most one more than ``credits`` can pay
    for. The lot's ``replicas`` are ignored: the rule determines them."""
    if not rule.weighs_trust:
        lot = attrs.evolve(lot, replicas=rule.team())
        teams = _without_liars(company, _payable(lot, credits), entropy)
        drawable = [member for member in company.pool.candidates(lot) if member.worker not in company.probation]
        return Selection(
            teams=tuple(teams),
            audited=(False,) * len(teams),
            steered=steered(company.pool, lot, drawable, teams),
            lot=lot,
        )
    single = attrs.evolve(lot, replicas=1)
    candidates = company.pool.candidates(single)
    audit = max(audit_rate, TRAINING if company.has_newcomers(candidates) else 0.0)
    known, rest = _ranks(company, candidates, rule)
    teams = draw(_only(company.pool, known), _payable(single, credits), entropy)
    audited = [_chance(audit, entropy) for _ in teams]
    steering = steered(company.pool, lot, known, teams)
    credits -= len(teams)
    others = attrs.evolve(lot, replicas=_team_size(company, rest, rule), tasks=lot.tasks - len(teams))
    if rest and others.tasks and credits >= 0:
        # No more teams at once than there are workers: the last teams of a large batch would consist of those with the
        # most slots.
        apart = attrs.evolve(
            _apart(company.pool, others, rest), tasks=min(others.tasks, max(1, len(rest) // others.replicas))
        )
        more = draw(_one_a_block(company.pool, apart, rest, entropy), _payable(apart, credits), entropy)
        more = fair(company.pool, others, rest, more)
        teams += more
        audited += [False] * len(more)
        steering += steered(company.pool, lot, rest, more)
    wanted = attrs.evolve(single if known else others, tasks=lot.tasks)
    return Selection(teams=tuple(teams), audited=tuple(audited), steered=steering, lot=wanted)


def _one_a_block(pool: Pool, lot: Lot, members: Sequence[Member], entropy: Entropy) -> Pool:
    """Return a pool of these members. If a team must not have two of one block, the pool has one random member of each
    block, with one slot: otherwise a draw would favor workers with many accounts or slots in a block."""
    if Tie.BLOCK not in lot.apart:
        return _only(pool, list(members))
    blocks: dict[str, list[Member]] = {}
    for member in members:
        if pool.free_slots(member):
            blocks.setdefault(member.block, []).append(member)
    chosen = [group[_below(len(group), entropy)] if len(group) > 1 else group[0] for group in blocks.values()]
    company = pool.company(lot)
    return Pool(members=(*[attrs.evolve(member, slots=1) for member in chosen], *company), busy={})


def _below(count: int, entropy: Entropy) -> int:
    return int.from_bytes(entropy.token(_LOT_BYTES), "big") * count >> 8 * _LOT_BYTES


def _apart(pool: Pool, lot: Lot, members: Sequence[Member]) -> Lot:
    """Return a lot whose teams have no two workers of one block if there are enough blocks, and no two of one owner if
    there are enough owners."""
    company = pool.company(lot)
    ties = [
        tie
        for tie in Tie
        if len({HOUSES[tie](member) for member in members}.difference(map(HOUSES[tie], company))) >= lot.replicas
    ]
    return attrs.evolve(lot, apart=lot.apart.union(ties))


def _without_liars(company: Company, lot: Lot, entropy: Entropy) -> list[Team]:
    """Draw teams without workers on probation, unless that reduces the number of teams."""
    teams = draw(company.pool, attrs.evolve(lot, avoid=lot.avoid | company.probation), entropy)
    if company.probation and len(teams) < lot.tasks:
        teams = max(teams, draw(company.pool, lot, entropy), key=len)
    return teams


def select_more(company: Company, lot: Lot, task: Task, entropy: Entropy, *, audit_rate: float) -> Team | None:
    """Draw workers to add to a task, whose workers are the lot's company: established ones, or, to audit a lone worker,
    often a newcomer, if there is one. Return None if there are too few."""
    if not parse_rule(task.rule).weighs_trust:
        return next(iter(_without_liars(company, lot, entropy)), None)
    ballots = sum(replica.digest is not None for replica in task.replicas)
    checks = task.audited and ballots == 1
    training = checks and _chance(TRAINING / (TRAINING + audit_rate), entropy)
    fits = company.is_newcomer if training else company.is_established
    avoid = frozenset(member.worker for member in company.pool.candidates(lot) if not fits(member))
    # The task's own workers stay in the pool even if they lied, so that others are kept apart from them.
    others = company.pool.without(company.probation - lot.company)
    candidates = others.candidates(lot)
    lot = _apart(others, lot, candidates)
    fitting = [member for member in candidates if member.worker not in avoid and others.free_slots(member)]
    if not training and len(fitting) < lot.replicas and _await_established(company, others, lot, entropy):
        return None
    source = others
    if training or len(fitting) < lot.replicas:
        source = _one_a_block(others, lot, fitting if len(fitting) >= lot.replicas else candidates, entropy)
    for team in draw(source, attrs.evolve(lot, avoid=lot.avoid | avoid), entropy):
        strangers = [member for member in candidates if not company.is_established(member)]
        by_chance = checks or all(map(company.is_established, team)) or fair(others, lot, strangers, [team])
        return team if by_chance else None
    if draw(attrs.evolve(others, busy={}, late={}), lot, entropy):
        return None  # wait if the others are only busy: idle workers would mostly be those on probation
    for team in draw(company.pool, attrs.evolve(lot, avoid=lot.avoid | company.probation), entropy):
        return team
    return None


def _await_established(company: Company, pool: Pool, lot: Lot, entropy: Entropy) -> bool:
    """Tell whether there are enough established workers to wait for: they are not few, and could fill the order if all
    of them were free. Once most honest workers are known, most unknown ones are saboteurs, and many of them together
    outweigh any single worker (docs/adr/0097)."""
    candidates = pool.candidates(lot)
    established = [member for member in candidates if company.is_established(member)]
    if not company.anchored and are_few(pool, established, candidates):
        return False
    wanted = [member for member in established if member.worker not in lot.avoid]
    free = Pool(members=(*wanted, *pool.company(lot)), busy={})
    return bool(draw(free, attrs.evolve(lot, tasks=1), entropy))


def steered_addition(company: Company, lot: Lot, team: Team) -> bool:
    """Tell whether the foreman could steer the draw of workers that ``select_more`` added. The draw is assumed to be
    from all workers of the same kinds: established or not, on probation or not."""
    kinds = {_kind(company, member) for member in team}
    drawable = [member for member in company.pool.candidates(lot) if _kind(company, member) in kinds]
    return steered(company.pool, lot, drawable, [team])[0]


def _kind(company: Company, member: Member) -> tuple[bool, bool]:
    return member.worker in company.probation, company.trust(member).agreed >= ESTABLISHED


def expected_team(company: Company, lot: Lot, rule: VerificationRule) -> int:
    """Return how many workers would be drawn for a new task now, at most."""
    if not rule.weighs_trust:
        return rule.team()
    known, rest = _ranks(company, company.pool.candidates(attrs.evolve(lot, replicas=1)), rule)
    return 1 if known else _team_size(company, rest, rule)


def _ranks(company: Company, members: Sequence[Member], rule: VerificationRule) -> tuple[list[Member], list[Member]]:
    """Return the members that compute alone, and those that do not but may be the first on a task."""
    candidates = [member for member in members if member.worker not in company.probation]
    established = [member for member in candidates if company.is_established(member)]
    # Established workers take precedence only if there are enough of them, or if all trust descends from anchors.
    few = not company.anchored and are_few(company.pool, established, candidates)
    for group in ([] if few else established, candidates):
        known, rest = _parted(company, group, rule)
        if known or len(rest) >= _team_size(company, rest, rule):
            return known, rest
    return _parted(company, members, rule)  # there is no team without workers on probation


def _parted(company: Company, members: Sequence[Member], rule: VerificationRule) -> tuple[list[Member], list[Member]]:
    """Separate the members that may compute alone from the others."""
    known = [member for member in members if rule.believes(company.trust(member))]
    alone = {member.worker for member in known}
    return known, [member for member in members if member.worker not in alone]


def _team_size(company: Company, members: list[Member], rule: VerificationRule) -> int:
    """Return how many of these members have to agree, estimated from the mean trust in the free ones."""
    free = [company.trust(m).agreed for m in members if company.pool.free_slots(m)] or [0.0]
    return max(2, rule.team(Trust(agreed=sum(free) / len(free))))


def _only(pool: Pool, members: list[Member]) -> Pool:
    return attrs.evolve(pool, members=tuple(members))


def _payable(lot: Lot, credits: int) -> Lot:
    """Limit the lot to one task more than can be paid for: that suffices to notice that there are too few credits, and
    draws take time."""
    return attrs.evolve(lot, tasks=max(0, min(lot.tasks, credits // lot.replicas + 1)))


def _chance(share: float, entropy: Entropy) -> bool:
    return int.from_bytes(entropy.token(_LOT_BYTES), "big") < share * (1 << 8 * _LOT_BYTES)
