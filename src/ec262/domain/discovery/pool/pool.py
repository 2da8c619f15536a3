"""The pool of workers: which of them can be drawn for a foreman's tasks, and why the others cannot."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any

import attrs

from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.work.runtime import PythonTag, RuntimeClass

MAX_NAMED = 5
"""The maximum number of Python versions or packages that an explanation lists."""


@attrs.frozen(kw_only=True)
class Member:
    """A worker with a lease until ``expires_at`` (Unix seconds). An account is one worker.

    ``owner`` is its owner, as far as discovery knows; ``block`` is the address block of its host; ``earned`` is whether
    it was ever paid for work. If not, it is a beginner.
    """

    worker: str
    address: WorkerAddress
    runtime: RuntimeClass
    packages: frozenset[str]
    slots: int
    expires_at: float
    owner: str
    block: str
    earned: bool = False


class Tie(enum.Enum):
    """Something that two workers have in common and that makes collusion more likely."""

    OWNER = "owner"
    BLOCK = "block"

    @property
    def title(self) -> str:
        """The tie as shown to users."""
        return "owner" if self is Tie.OWNER else "address block"

    __hash__ = object.__hash__  # as for TaskState; so the order of a set of ties differs between processes


House = Callable[[Any], str]
"""A function that returns the house of a member. Members of one house belong together."""

HOUSES: Mapping[Tie, House] = {Tie.OWNER: attrgetter("owner"), Tie.BLOCK: attrgetter("block")}
"""Members with a tie belong to one house."""


@attrs.frozen(kw_only=True)
class Lot:
    """An order for a draw: up to ``tasks`` tasks of ``replicas`` workers each.

    No two workers of a team have the same owner or block if that can be avoided; for a tie in ``apart``, never. Workers
    in ``avoid`` are drawn only if the others do not suffice. If replicas are added to a task, ``company`` holds the
    workers that it already has, and ``runtime`` their runtime class.
    """

    requirement: Requirement
    foreman: str
    replicas: int
    tasks: int
    avoid: frozenset[str] = frozenset()
    apart: frozenset[Tie] = frozenset()
    company: frozenset[str] = frozenset()
    runtime: RuntimeClass | None = None


@attrs.frozen(kw_only=True)
class Pool:
    """The members with a valid lease, and how many slots of each are ``busy``: with replicas of open tasks, and with
    ``late`` ones, which the worker may still be computing although their tasks are decided."""

    members: tuple[Member, ...]
    busy: Mapping[str, int]
    late: Mapping[str, int] = attrs.Factory(dict)

    def free_slots(self, member: Member) -> int:
        """Return how many more replicas the member can take."""
        free = member.slots - self.busy.get(member.worker, 0)
        return free if free > 0 else 0  # noqa: FURB136 - twice as fast, and every purchase checks all members

    def taken(self, team: Sequence[Member]) -> Pool:
        """Return the pool with one more busy slot for each member of the team."""
        busy = Counter(self.busy)
        busy.update(member.worker for member in team)
        return attrs.evolve(self, busy=busy)

    def all_punctual(self, lot: Lot) -> Pool:
        """Return the pool as if no worker were busy, without the workers whose slots are all taken by late replicas,
        but with the lot's company."""
        members = [m for m in self.members if m.slots > self.late.get(m.worker, 0) or m.worker in lot.company]
        return attrs.evolve(self, members=tuple(members), busy={}, late={})

    def regardless_of_late(self) -> Pool:
        """Return the pool as if late replicas took no slots."""
        busy = {worker: count - self.late.get(worker, 0) for worker, count in self.busy.items()}
        return attrs.evolve(self, busy=busy, late={})

    def without(self, workers: Collection[str]) -> Pool:
        """Return the pool without these workers."""
        return attrs.evolve(self, members=tuple(member for member in self.members if member.worker not in workers))

    def eligible(self, requirement: Requirement, *, foreman: str) -> tuple[Member, ...]:
        """Return the members that meet the requirement, including busy ones, but never the foreman's own worker."""
        fitting = _runtimes(self.members, lambda runtime: runtime.python == requirement.python)
        return tuple(
            [
                member
                for member in self.members
                if id(member.runtime) in fitting
                and member.worker != foreman
                and member.packages.issuperset(requirement.packages)
            ]
        )

    def candidates(self, lot: Lot) -> Sequence[Member]:
        """Return the eligible members, including busy ones, that are not in the lot's company but are comparable with
        it."""
        return _of_lot(self.eligible(lot.requirement, foreman=lot.foreman), lot)

    def company(self, lot: Lot) -> tuple[Member, ...]:
        """Return the members of the lot's company that still have a lease."""
        return tuple(member for member in self.members if member.worker in lot.company)

    def explanation(self, requirement: Requirement, *, foreman: str, apart: frozenset[Tie] = frozenset()) -> str:
        """Explain which workers in the pool cannot be drawn, and why; empty if all can. ``apart`` is as in ``Lot``."""
        lot = Lot(requirement=requirement, foreman=foreman, replicas=1, tasks=1, apart=apart)
        return self._explanation(lot, self.eligible(requirement, foreman=foreman))

    def shortfall(self, lot: Lot, *, assigned: int) -> str:
        """Explain why fewer tasks were assigned than requested; empty if none is missing."""
        if assigned >= lot.tasks:
            return ""
        eligible = self.eligible(lot.requirement, foreman=lot.foreman)
        candidates = _of_lot(eligible, lot)
        slots = sum([self.free_slots(member) for member in candidates])
        missing = (
            f"{lot.tasks - assigned} of {_count(lot.tasks, 'task')} not assigned: "
            f"{_count(lot.replicas, 'worker')} needed for each, "
            f"{len(candidates)} eligible with {_count(slots, 'free slot')}"
        )
        explanation = self._explanation(lot, eligible)
        return f"{missing}; {explanation}" if explanation else missing

    def _explanation(self, lot: Lot, eligible: Sequence[Member]) -> str:
        if not self.members:
            return "the pool is empty"
        others = [member for member in self.members if member.worker != lot.foreman]
        python, packages = lot.requirement.python, lot.requirement.packages
        fitting = _runtimes(others, lambda runtime: runtime.python == python)
        same_python = [member for member in others if id(member.runtime) in fitting]
        strange = [member.runtime.python for member in others if id(member.runtime) not in fitting]
        candidates, company = _of_lot(eligible, lot), self.company(lot)
        at_work = sum([member.worker in lot.company for member in eligible])
        reasons = [
            *_own(len(self.members) - len(others)),
            *_other_pythons(strange, python),
            *_missing_packages(same_python, packages),
            *_at_work(at_work),
            *_of_another_class(len(eligible) - at_work - len(candidates)),
            *_incomparable(candidates),
            *_kept_apart(candidates, company, lot.apart),
            *_busy(sum([self.free_slots(member) == 0 for member in candidates])),
        ]
        return "; ".join(reasons)


def _runtimes(members: Sequence[Member], fits: Callable[[RuntimeClass], bool]) -> set[int]:
    """Return the ids of the members' runtime class objects that satisfy ``fits``. There are only a few runtime classes,
    and most members of one class share the same object: comparing the class of every member would take a large part of
    the time of a purchase."""
    kinds = {id(member.runtime): member.runtime for member in members}
    return {name for name, runtime in kinds.items() if fits(runtime)}


def _of_lot(eligible: Sequence[Member], lot: Lot) -> Sequence[Member]:
    """Return the members that are not in the lot's company but are comparable with it."""
    if lot.company:
        eligible = [member for member in eligible if member.worker not in lot.company]
    if lot.runtime is not None:
        comparable = _runtimes(eligible, lambda runtime: runtime == lot.runtime)
        eligible = [member for member in eligible if id(member.runtime) in comparable]
    return eligible


def _own(count: int) -> list[str]:
    return ["1 is the foreman's own"] if count else []


def _other_pythons(pythons: Sequence[PythonTag], required: PythonTag) -> list[str]:
    counts = Counter(_short_name(python, required) for python in pythons)
    return [
        f"{count} {'runs' if count == 1 else 'run'} {name}"
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_NAMED]
    ]


def _short_name(python: PythonTag, required: PythonTag) -> str:
    """Return a short name of a Python, or its full name if the short one does not distinguish it from the required
    one."""
    name = f"{python.implementation} {python.version}"
    return str(python) if name == f"{required.implementation} {required.version}" else name


def _missing_packages(members: Sequence[Member], packages: Sequence[str]) -> list[str]:
    """``members`` are those that run the required Python: the packages of others are irrelevant."""
    lacking = {name: sum(name not in member.packages for member in members) for name in packages} if members else {}
    lines = []
    for name, count in [(name, count) for name, count in lacking.items() if count][:MAX_NAMED]:
        verb = "lacks" if count == 1 else "lack"
        lines.append(f"none offers {name}" if count == len(members) else f"{count} {verb} {name}")
    return lines


def _at_work(count: int) -> list[str]:
    return [f"{count} already {'has' if count == 1 else 'have'} the task"] if count else []


def _of_another_class(count: int) -> list[str]:
    verb = "produces" if count == 1 else "produce"
    return [f"{count} {verb} results that are not comparable with those of the task's workers"] if count else []


def _kept_apart(candidates: Sequence[Member], company: Sequence[Member], apart: frozenset[Tie]) -> list[str]:
    """Report candidates that cannot be in one team with another worker because of a tie."""
    lines = []
    for tie in (tie for tie in Tie if tie in apart):
        house = HOUSES[tie]
        sizes = Counter(map(house, (*candidates, *company)))
        count = sum(sizes[house(member)] > 1 for member in candidates)
        if count:
            verb = "shares" if count == 1 else "share"
            lines.append(
                f"{count} of the eligible {verb} an {tie.title} with others, but a task gets one worker per {tie.title}"
            )
    return lines


def _incomparable(eligible: Sequence[Member]) -> list[str]:
    sizes = sorted(Counter(member.runtime for member in eligible).values(), reverse=True)
    if len(sizes) <= 1:
        return []
    classes = f"the eligible belong to {len(sizes)} runtime classes, whose results cannot be compared"
    return [f"{classes} (the largest class has {_count(sizes[0], 'worker')})"]


def _busy(count: int) -> list[str]:
    return [f"{count} {'is' if count == 1 else 'are'} busy"] if count else []


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
