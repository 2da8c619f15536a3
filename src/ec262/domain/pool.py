"""The pool of workers: who is there, who could be drawn for a foreman's tasks, and why others could not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

from ec262.domain.commands import Requirement, WorkerAddress
from ec262.domain.runtime import PythonTag, RuntimeClass

MAX_NAMED = 5
"""Most Pythons or packages that an explanation names one by one."""


@attrs.frozen(kw_only=True)
class Member:
    """A worker with a lease, alive until ``expires_at`` (Unix seconds). An account is one worker."""

    worker: str
    address: WorkerAddress
    runtime: RuntimeClass
    packages: frozenset[str]
    slots: int
    expires_at: float


@attrs.frozen(kw_only=True)
class Lot:
    """What is drawn for: up to ``tasks`` tasks of ``replicas`` workers each; ``avoid`` are drawn only where the others
    do not suffice."""

    requirement: Requirement
    foreman: str
    replicas: int
    tasks: int
    avoid: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class Pool:
    """The members whose lease is alive, and how many slots of each are ``busy``: outstanding replicas of
    open tasks."""

    members: tuple[Member, ...]
    busy: Mapping[str, int]

    def free_slots(self, member: Member) -> int:
        """Return how many more replicas the member can take."""
        return max(0, member.slots - self.busy.get(member.worker, 0))

    def eligible(self, requirement: Requirement, *, foreman: str) -> tuple[Member, ...]:
        """Return the members that fit, busy ones included; never the foreman's own."""
        return tuple(
            member
            for member in self.members
            if member.worker != foreman
            and member.runtime.python == requirement.python
            and member.packages.issuperset(requirement.packages)
        )

    def explanation(self, requirement: Requirement, *, foreman: str) -> str:
        """Say who is in the pool and cannot be drawn, and why; empty if everybody can."""
        if not self.members:
            return "the pool is empty"
        others = [member for member in self.members if member.worker != foreman]
        same_python = [member for member in others if member.runtime.python == requirement.python]
        eligible = self.eligible(requirement, foreman=foreman)
        reasons = [
            *_own(len(self.members) - len(others)),
            *_other_pythons([member.runtime.python for member in others], requirement.python),
            *_missing_packages(same_python, requirement.packages),
            *_incomparable(eligible),
            *_busy(sum(self.free_slots(member) == 0 for member in eligible)),
        ]
        return "; ".join(reasons)

    def shortfall(self, lot: Lot, *, assigned: int) -> str:
        """Say why fewer tasks were assigned than asked for; empty if none is missing."""
        if assigned >= lot.tasks:
            return ""
        eligible = self.eligible(lot.requirement, foreman=lot.foreman)
        slots = sum(self.free_slots(member) for member in eligible)
        missing = (
            f"{lot.tasks - assigned} of {_count(lot.tasks, 'task')} not assigned: "
            f"{_count(lot.replicas, 'worker')} needed for each, "
            f"{len(eligible)} eligible with {_count(slots, 'free slot')}"
        )
        explanation = self.explanation(lot.requirement, foreman=lot.foreman)
        return f"{missing}; {explanation}" if explanation else missing


def _own(count: int) -> list[str]:
    return ["1 is the foreman's own"] if count else []


def _other_pythons(pythons: Sequence[PythonTag], required: PythonTag) -> list[str]:
    counts = Counter(_short_name(python, required) for python in pythons if python != required)
    return [
        f"{count} {'runs' if count == 1 else 'run'} {name}"
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_NAMED]
    ]


def _short_name(python: PythonTag, required: PythonTag) -> str:
    """Name a Python as a person would, in full where that would not tell it from the required one."""
    name = f"{python.implementation} {python.version}"
    return str(python) if name == f"{required.implementation} {required.version}" else name


def _missing_packages(members: Sequence[Member], packages: Sequence[str]) -> list[str]:
    """Only members that run the required Python are asked: what the others have is of no use."""
    lacking = {name: sum(name not in member.packages for member in members) for name in packages} if members else {}
    lines = []
    for name, count in [(name, count) for name, count in lacking.items() if count][:MAX_NAMED]:
        verb = "lacks" if count == 1 else "lack"
        lines.append(f"none offers {name}" if count == len(members) else f"{count} {verb} {name}")
    return lines


def _incomparable(eligible: Sequence[Member]) -> list[str]:
    sizes = sorted(Counter(member.runtime for member in eligible).values(), reverse=True)
    if len(sizes) <= 1:
        return []
    return [f"the eligible are of {len(sizes)} kinds whose results cannot be compared, at most {sizes[0]} of one kind"]


def _busy(count: int) -> list[str]:
    return [f"{count} {'is' if count == 1 else 'are'} busy"] if count else []


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
