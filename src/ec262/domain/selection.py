"""Who computes a foreman's tasks, under rules to which it matters who does.

Workers who are known come first, and those who are known well enough compute alone. Who is not known yet is drawn
beside others, to be checked and to become known; only where hardly anybody is known are new tasks computed by workers
of whom nothing is, many for each. So whoever comes under new names again and again never has a task to themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from ec262.domain.credibility import NOTHING_KNOWN, Trust
from ec262.domain.draw import Team, draw
from ec262.domain.pool import Lot, Member, Pool
from ec262.domain.ports.clock import Entropy
from ec262.domain.tasks import Task
from ec262.domain.verification import VerificationRule, parse_rule

ESTABLISHED = 10.0
"""A worker is established that was right so often beside others."""

TRAINING = 0.25
"""The share of the tasks of single workers that are audited as long as there are newcomers to become known."""

_LOT_BYTES = 8


@attrs.frozen(kw_only=True)
class Company:
    """The eligible of a lot that are in a pool, by how far they are known: ``trusts`` has what is known of whom,
    ``probation`` who lied not long ago."""

    pool: Pool
    trusts: Mapping[str, Trust]
    probation: frozenset[str]

    def trust(self, member: Member) -> Trust:
        """Return how far a member is known."""
        return self.trusts.get(member.worker, NOTHING_KNOWN)

    def is_newcomer(self, member: Member) -> bool:
        """Tell whether too little is known of a member, and nothing bad."""
        return member.worker not in self.probation and self.trust(member).agreed < ESTABLISHED

    def is_established(self, member: Member) -> bool:
        """Tell whether a member is known, and nothing bad of it."""
        return member.worker not in self.probation and self.trust(member).agreed >= ESTABLISHED

    def has_newcomers(self, candidates: Sequence[Member]) -> bool:
        """Tell whether there is a newcomer who could be drawn now."""
        return any(self.pool.free_slots(member) and self.is_newcomer(member) for member in candidates)


@attrs.frozen(kw_only=True)
class Selection:
    """The teams drawn, and whether each one's task is to be audited; ``lot`` is what the last of them were drawn for,
    which is also what more would have been drawn for."""

    teams: tuple[Team, ...]
    audited: tuple[bool, ...]
    lot: Lot


def select(
    company: Company, lot: Lot, rule: VerificationRule, entropy: Entropy, *, audit_rate: float, credits: int
) -> Selection:
    """Draw teams for new tasks, at most as many as the lot has and one more than ``credits`` can pay. The lot's
    ``replicas`` do not matter: the rule knows them."""
    if not rule.weighs_trust:
        lot = attrs.evolve(lot, replicas=rule.team())
        teams = _without_liars(company, _payable(lot, credits), entropy)
        return Selection(teams=tuple(teams), audited=(False,) * len(teams), lot=lot)
    single = attrs.evolve(lot, replicas=1)
    candidates = company.pool.candidates(single)
    audit = max(audit_rate, TRAINING if company.has_newcomers(candidates) else 0.0)
    known, rest = _ranks(company, candidates, rule)
    teams = draw(_only(company.pool, known), _payable(single, credits), entropy)
    audited = [_chance(audit, entropy) for _ in teams]
    credits -= len(teams)
    others = attrs.evolve(lot, replicas=_team_size(company, rest, rule), tasks=lot.tasks - len(teams))
    if rest and others.tasks and credits >= 0:
        more = draw(_only(company.pool, rest), _payable(others, credits), entropy)
        teams += more
        audited += [False] * len(more)
    wanted = attrs.evolve(single if known else others, tasks=lot.tasks)
    return Selection(teams=tuple(teams), audited=tuple(audited), lot=wanted)


def _without_liars(company: Company, lot: Lot, entropy: Entropy) -> list[Team]:
    """Draw teams without those on probation, unless that costs any."""
    teams = draw(company.pool, attrs.evolve(lot, avoid=lot.avoid | company.probation), entropy)
    if company.probation and len(teams) < lot.tasks:
        teams = max(teams, draw(company.pool, lot, entropy), key=len)
    return teams


def select_more(company: Company, lot: Lot, task: Task, entropy: Entropy, *, audit_rate: float) -> Team | None:
    """Draw workers that are added to a task, which has the lot's company: those who are established; or, to audit one
    worker's word, often a newcomer, if there is one. None if there are too few."""
    if not parse_rule(task.rule).weighs_trust:
        return next(iter(_without_liars(company, lot, entropy)), None)
    ballots = sum(replica.digest is not None for replica in task.replicas)
    checks = task.audited and ballots == 1
    training = checks and _chance(TRAINING / (TRAINING + audit_rate), entropy)
    fits = company.is_newcomer if training else company.is_established
    avoid = frozenset(member.worker for member in company.pool.candidates(lot) if not fits(member))
    # The task's own workers stay in the pool, whatever they did, for others to be kept apart from them.
    others = company.pool.without(company.probation - lot.company)
    for team in draw(others, attrs.evolve(lot, avoid=lot.avoid | avoid), entropy):
        return team
    if draw(attrs.evolve(others, busy={}, late={}), lot, entropy):
        return None  # where the others are only busy they are waited for: who lied would be asked mostly, being idle
    for team in draw(company.pool, attrs.evolve(lot, avoid=lot.avoid | company.probation), entropy):
        return team
    return None


def expected_team(company: Company, lot: Lot, rule: VerificationRule) -> int:
    """Return how many workers a new task would be drawn now, at most."""
    if not rule.weighs_trust:
        return rule.team()
    known, rest = _ranks(company, company.pool.candidates(attrs.evolve(lot, replicas=1)), rule)
    return 1 if known else _team_size(company, rest, rule)


def _ranks(company: Company, everybody: Sequence[Member], rule: VerificationRule) -> tuple[list[Member], list[Member]]:
    """Return who computes alone, and who does not, but may have the first word on a task."""
    candidates = [member for member in everybody if member.worker not in company.probation]
    established = [member for member in candidates if company.is_established(member)]
    # Who is established may speak for the others only if there are enough of them to get the work done.
    few = 2 * sum(member.slots for member in established) < sum(member.slots for member in candidates)
    for speakers in ([] if few else established, candidates):
        known, rest = _parted(company, speakers, rule)
        if known or len(rest) >= _team_size(company, rest, rule):
            return known, rest
    return _parted(company, everybody, rule)  # nothing can be done without those on probation


def _parted(company: Company, members: Sequence[Member], rule: VerificationRule) -> tuple[list[Member], list[Member]]:
    """Part members who may compute alone from the others."""
    known = [member for member in members if rule.believes(company.trust(member))]
    alone = {member.worker for member in known}
    return known, [member for member in members if member.worker not in alone]


def _team_size(company: Company, members: list[Member], rule: VerificationRule) -> int:
    """Return how many of these have to agree, going by the mean of those who are free."""
    free = [company.trust(m).agreed for m in members if company.pool.free_slots(m)] or [0.0]
    return max(2, rule.team(Trust(agreed=sum(free) / len(free))))


def _only(pool: Pool, members: list[Member]) -> Pool:
    return attrs.evolve(pool, members=tuple(members))


def _payable(lot: Lot, credits: int) -> Lot:
    """One task more than can be paid is enough to find out that the purse is too small: drawing takes time."""
    return attrs.evolve(lot, tasks=max(0, min(lot.tasks, credits // lot.replicas + 1)))


def _chance(share: float, entropy: Entropy) -> bool:
    return int.from_bytes(entropy.token(_LOT_BYTES), "big") < share * (1 << 8 * _LOT_BYTES)
