"""One task of a running job, as its foreman sees it: its states, and the purchases made of it.

::

    WANTED --buy--> BUYING --assigned--> RUNNING --won--> FETCHING --delivered--> DONE
       ^               |                  |  ^                |                     ^
       +--unassigned---+                  |  |                +--delivered alone    |
       |                              lack|  |added                    |        accepted
       |                                  v  |                         v            |
       |                LACKING --order--> EXTENDING             PROVISIONAL --accept--> ACCEPTING
       |                   ^                  |                                     |
       |                   +----not added-----+          RUNNING <----reopened------+
       +--lost-- (from RUNNING, LACKING, FETCHING, and DISPUTING, to which RUNNING and LACKING go by "dispute")

A task that lacks workers can be won as one that runs can: somebody who was given up may commit after all. One that was
decided by one worker's word waits, with its result, until its win is accepted, and runs again if it is not; it runs
again at once, by "claimed", if that word is that the job's own code failed, or has a key that would end the job. One
whose win was accepted by then is lost. Whatever is not in the table
is an error of the caller.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator

import attrs

from ec262.domain.errors import JobDefinitionError, KeyCollision, KeyNotHashable, TaskLimitExceeded, UserCodeFailed
from ec262.domain.protocol.foreman_calls import BoughtReplica, BoughtTask, Verdict
from ec262.domain.verification.rules import VerificationRule
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import TaskName


class Step(enum.StrEnum):
    """States of a task, as its foreman sees it: texts, since these are fast keys."""

    WANTED = "wanted"
    BUYING = "buying"
    RUNNING = "running"
    LACKING = "lacking"
    EXTENDING = "extending"
    DISPUTING = "disputing"
    FETCHING = "fetching"
    PROVISIONAL = "provisional"
    ACCEPTING = "accepting"
    DONE = "done"


UNDER_WAY = (Step.RUNNING, Step.LACKING, Step.EXTENDING, Step.DISPUTING, Step.FETCHING)
"""Bought, and the result is not there."""

DELIVERED = (Step.PROVISIONAL, Step.ACCEPTING, Step.DONE)
"""The result is there."""


TRANSITIONS: dict[tuple[Step, str], Step] = {
    (Step.WANTED, "buy"): Step.BUYING,
    (Step.BUYING, "assigned"): Step.RUNNING,
    (Step.BUYING, "unassigned"): Step.WANTED,
    (Step.RUNNING, "won"): Step.FETCHING,
    (Step.RUNNING, "lost"): Step.WANTED,
    (Step.RUNNING, "lack"): Step.LACKING,
    (Step.LACKING, "order"): Step.EXTENDING,
    (Step.LACKING, "won"): Step.FETCHING,
    (Step.LACKING, "lost"): Step.WANTED,
    (Step.RUNNING, "dispute"): Step.DISPUTING,
    (Step.LACKING, "dispute"): Step.DISPUTING,
    (Step.DISPUTING, "lost"): Step.WANTED,
    (Step.EXTENDING, "added"): Step.RUNNING,
    (Step.EXTENDING, "not added"): Step.LACKING,
    (Step.FETCHING, "lost"): Step.WANTED,
    (Step.FETCHING, "delivered"): Step.DONE,
    (Step.FETCHING, "delivered alone"): Step.PROVISIONAL,
    (Step.FETCHING, "claimed"): Step.RUNNING,
    (Step.PROVISIONAL, "accept"): Step.ACCEPTING,
    (Step.PROVISIONAL, "claimed"): Step.RUNNING,
    (Step.DONE, "lost"): Step.WANTED,
    (Step.ACCEPTING, "accepted"): Step.DONE,
    (Step.ACCEPTING, "reopened"): Step.RUNNING,
}


Claim = UserCodeFailed | TaskLimitExceeded | KeyNotHashable | KeyCollision | JobDefinitionError


@attrs.define(kw_only=True)
class Attempt:
    """One purchase of a task, under a rule, with the workers added to it: what each has come to so far.

    ``lacking`` is how many more are wanted now. ``claim`` is the failure of the job's code that one worker alone tells
    of. ``why_lost`` is empty unless it was given up. ``committed`` are the workers whose commitments were heard of,
    ``counted`` is how many there are, as discovery last said.
    """

    rule: VerificationRule
    bought: BoughtTask
    deadline: float
    additions: int = 0
    lacking: int = 0
    claim: Claim | None = None
    why_lost: str = ""
    committed: set[str] = attrs.Factory(set)
    counted: int = 0
    ended: dict[str, str] = attrs.Factory(dict)
    untried: list[str] = attrs.Factory(list)
    verdict: Verdict | None = None
    doomed: bool = False
    """Whether discovery has said that nobody will commit any more."""

    @property
    def began(self) -> float:
        """When it was bought, or last added to."""
        return self.deadline - self.bought.deadline_s

    @property
    def heard(self) -> int:
        """How much has been heard of it: commitments and ends of its replicas, and additions."""
        return len(self.committed) + len(self.ended) + self.additions

    @property
    def lone(self) -> bool:
        """Whether it was won by one worker's word."""
        return self.verdict is not None and self.verdict.state is TaskState.PROVISIONAL

    @property
    def one_word(self) -> bool:
        """Whether one worker alone vouches for its result still, by a rule by which not anybody's word decides."""
        return self.rule.weighs_trust and self.verdict is not None and len(self.verdict.winners) < 2  # noqa: PLR2004 - that one, and another

    def extend(self, more: BoughtTask, now: float) -> None:
        """Take in workers that were added, and the deadline that they have."""
        self.bought = attrs.evolve(more, replicas=self.bought.replicas + more.replicas)
        self.deadline = now + more.deadline_s
        self.additions += 1
        self.lacking = 0
        self.doomed = False

    def replica(self, worker: str) -> BoughtReplica:
        """Return the replica that this worker was assigned."""
        return next(replica for replica in self.bought.replicas if replica.worker == worker)

    @property
    def outstanding(self) -> int:
        """How many replicas may still commit."""
        return sum(
            replica.worker not in self.committed and replica.worker not in self.ended
            for replica in self.bought.replicas
        )

    def fate(self, worker: str) -> str:
        """Say what a worker's replica has come to, as far as is known."""
        return self.ended.get(worker) or ("committed a result" if worker in self.committed else "gave no result")

    def history(self, number: int) -> list[str]:
        """Return a line for people about each replica of the ``number``-th purchase, which was lost; where its workers
        agreed that it came to nothing, one line about all of them."""
        if self.verdict is not None and self.verdict.winners and not self.ended:
            return [f"purchase {number}, {len(self.verdict.winners)} workers agree: {self.why_lost}"]
        lines = []
        for replica in self.bought.replicas:
            where = f"{replica.address.host}:{replica.address.port}"
            fate = self.fate(replica.worker)
            lines.append(f"purchase {number} ({self.why_lost}), worker {replica.worker[:8]} at {where}: {fate}")
        return lines


@attrs.define(kw_only=True)
class RunningTask:
    """A task, how often it was bought, and what became of its earlier purchases.

    ``rule`` is that of its next or current purchase, once it was chosen. ``kept`` is the digest of the result that was
    delivered, as long as its purchase is not given up.
    """

    name: TaskName
    step: Step = Step.WANTED
    purchases: int = 0
    rule: VerificationRule | None = None
    attempt: Attempt | None = None
    past: list[Attempt] = attrs.Factory(list)
    kept: bytes | None = None

    @property
    def current(self) -> Attempt:
        """The current purchase, where the state says that there is one."""
        if self.attempt is None:
            raise AssertionError(f"{self.name} is {self.step.value} and not bought")
        return self.attempt

    @property
    def attempts(self) -> list[Attempt]:
        """All its purchases, the first in front."""
        return [*self.past, self.attempt] if self.attempt else self.past

    def assign(self, bought: BoughtTask, now: float) -> Attempt:
        """Begin a purchase, under the rule that was chosen."""
        if self.rule is None:
            raise AssertionError(f"{self.name} was bought, but under no rule")
        self.purchases += 1
        self.attempt = Attempt(rule=self.rule, bought=bought, deadline=now + bought.deadline_s)
        return self.attempt

    def give_up(self, why: str) -> None:
        """Be done with the current purchase."""
        self.current.why_lost = why
        self.past.append(self.current)
        self.attempt = self.rule = self.kept = None

    @property
    def history(self) -> tuple[str, ...]:
        """Lines for people about what became of the purchases that were given up."""
        return tuple(line for number, attempt in enumerate(self.past, 1) for line in attempt.history(number))


class TaskBoard:
    """The tasks of one phase, sorted by state, so that no event costs more for a phase of many tasks."""

    def __init__(self, names: Iterable[TaskName]) -> None:
        self._tasks: dict[TaskName, RunningTask] = {}
        self._by_step: dict[Step, dict[TaskName, RunningTask]] = {step: {} for step in Step}
        self.add(names)

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[RunningTask]:
        return iter(self._tasks.values())

    def __getitem__(self, name: TaskName) -> RunningTask:
        return self._tasks[name]

    def add(self, names: Iterable[TaskName]) -> None:
        """Take in new tasks: they are wanted."""
        new = {name: RunningTask(name=name) for name in names}
        self._tasks |= new
        self._by_step[Step.WANTED] |= new

    def at(self, step: Step) -> Collection[RunningTask]:
        """Return the tasks in a state, those that came to it first in front."""
        return self._by_step[step].values()

    def count(self, *steps: Step) -> int:
        """Return how many tasks are in one of these states."""
        return sum([len(self._by_step[step]) for step in steps])  # a list: half the time of a generator

    def move(self, task: RunningTask, trigger: str) -> None:
        """Let a task go through a transition of the table."""
        step = TRANSITIONS.get((task.step, trigger))
        if step is None:
            raise AssertionError(f"{task.name} cannot go by {trigger!r} from {task.step}")
        del self._by_step[task.step][task.name]
        self._by_step[step][task.name] = task
        task.step = step
