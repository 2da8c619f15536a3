"""One task of a running job from the foreman's view: its states and its purchases.

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

    PROVISIONAL --check--> CHECKING --added--> RUNNING
         ^                    |
         +-----not added------+

A task that lacks workers can still be won, because a worker that was considered lost may commit after all. A task that
was won by one worker alone waits, with its result, until its win is accepted, and runs again if it is reopened. If the
result states that the job's own code failed, or has a key that would end the job, the task runs again at once, by
"claimed"; if its win was already accepted by then, it is lost. By "check", another worker is ordered before the win is
accepted. A transition that is not in the table is an error of the caller.
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
    """The states of a task from the foreman's view: strings, because these are fast keys."""

    WANTED = "wanted"
    BUYING = "buying"
    RUNNING = "running"
    LACKING = "lacking"
    EXTENDING = "extending"
    DISPUTING = "disputing"
    FETCHING = "fetching"
    PROVISIONAL = "provisional"
    CHECKING = "checking"
    ACCEPTING = "accepting"
    DONE = "done"


UNDER_WAY = (Step.RUNNING, Step.LACKING, Step.EXTENDING, Step.DISPUTING, Step.FETCHING)
"""Bought, without a result so far."""

ORDERED = (Step.BUYING, Step.EXTENDING, Step.CHECKING)
"""In a purchase that discovery has not answered."""

DELIVERED = (Step.PROVISIONAL, Step.ACCEPTING, Step.DONE)
"""The result was delivered."""


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
    (Step.PROVISIONAL, "check"): Step.CHECKING,
    (Step.CHECKING, "added"): Step.RUNNING,
    (Step.CHECKING, "not added"): Step.PROVISIONAL,
    (Step.DONE, "lost"): Step.WANTED,
    (Step.ACCEPTING, "accepted"): Step.DONE,
    (Step.ACCEPTING, "reopened"): Step.RUNNING,
}


Claim = UserCodeFailed | TaskLimitExceeded | KeyNotHashable | KeyCollision | JobDefinitionError


@attrs.define(kw_only=True)
class Attempt:
    """One purchase of a task, under a rule, with the workers added to it, and what is known of each.

    ``lacking`` is how many more workers are wanted now. ``claim`` is a failure of the job's code that one worker alone
    reports. ``why_lost`` is empty unless the purchase was given up. ``committed`` are the workers whose commitments are
    known to the foreman, ``counted`` is the number of commitments in discovery's last verdict.
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
    """Whether discovery has reported that no worker will commit any more."""

    @property
    def began(self) -> float:
        """When it was bought or last extended."""
        return self.deadline - self.bought.deadline_s

    @property
    def heard(self) -> int:
        """The amount of news about it: commitments and ends of its replicas, and additions."""
        return len(self.committed) + len(self.ended) + self.additions

    @property
    def lone(self) -> bool:
        """Whether its win is provisional."""
        return self.verdict is not None and self.verdict.state is TaskState.PROVISIONAL

    @property
    def one_word(self) -> bool:
        """Whether the result still comes from one worker alone, under a rule that weighs trust."""
        return self.rule.weighs_trust and self.verdict is not None and len(self.verdict.winners) < 2  # noqa: PLR2004 - that worker and another one

    def extend(self, more: BoughtTask, now: float) -> None:
        """Record the workers that were added, and their deadline."""
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

    def coming(self, verdict: Verdict) -> int:
        """Return how many replicas may still commit, as far as this foreman and discovery know."""
        return min(self.outstanding, verdict.outstanding)

    def fate(self, worker: str) -> str:
        """Describe what is known of a worker's replica."""
        return self.ended.get(worker) or ("committed a result" if worker in self.committed else "gave no result")

    def history(self, number: int) -> list[str]:
        """Return a line for the user about each replica of this lost purchase, the ``number``-th; if its workers agreed
        on a useless result, return one line about all of them."""
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
    """A task, the number of its purchases, and the earlier ones.

    ``rule`` is the rule of its next or current purchase, once it was chosen. ``kept`` is the digest of the delivered
    result, as long as its purchase is not given up.
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
        """The current purchase, in states that have one."""
        if self.attempt is None:
            raise AssertionError(f"{self.name} is {self.step.value} and not bought")
        return self.attempt

    @property
    def attempts(self) -> list[Attempt]:
        """All its purchases, oldest first."""
        return [*self.past, self.attempt] if self.attempt else self.past

    def assign(self, bought: BoughtTask, now: float) -> Attempt:
        """Begin a purchase, under the rule that was chosen."""
        if self.rule is None:
            raise AssertionError(f"{self.name} was bought without a rule")
        self.purchases += 1
        self.attempt = Attempt(rule=self.rule, bought=bought, deadline=now + bought.deadline_s)
        return self.attempt

    def give_up(self, why: str) -> None:
        """Give up the current purchase."""
        self.current.why_lost = why
        self.past.append(self.current)
        self.attempt = self.rule = self.kept = None

    @property
    def history(self) -> tuple[str, ...]:
        """Lines for the user about the purchases that were given up."""
        return tuple(line for number, attempt in enumerate(self.past, 1) for line in attempt.history(number))


class TaskBoard:
    """The tasks of one phase by state, so that the cost of an event does not depend on the number of tasks."""

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
        """Add new tasks, in the state WANTED."""
        new = {name: RunningTask(name=name) for name in names}
        self._tasks |= new
        self._by_step[Step.WANTED] |= new

    def at(self, step: Step) -> Collection[RunningTask]:
        """Return the tasks in a state, in the order in which they entered it."""
        return self._by_step[step].values()

    def count(self, *steps: Step) -> int:
        """Return how many tasks are in one of these states."""
        return sum([len(self._by_step[step]) for step in steps])  # a list takes half the time of a generator

    def move(self, task: RunningTask, trigger: str) -> None:
        """Move a task along a transition of the table."""
        step = TRANSITIONS.get((task.step, trigger))
        if step is None:
            raise AssertionError(f"{task.name} has no transition {trigger!r} from {task.step}")
        del self._by_step[task.step][task.name]
        self._by_step[step][task.name] = task
        task.step = step
