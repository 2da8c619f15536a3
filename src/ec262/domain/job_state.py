"""What the parts of a job's state machine share: the tasks, and when there is something to do next."""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from ec262.domain.commands import MAX_BATCH, MAX_ORDERS
from ec262.domain.diagnosis import Diagnosis
from ec262.domain.job import Phase, TaskName
from ec262.domain.job_events import Instruction, Wake
from ec262.domain.job_policy import RunPolicy
from ec262.domain.job_task import Attempt, RunningTask, Step, TaskBoard
from ec262.domain.pace import Pace

MAX_RETRY_S = 2.0
"""The longest pause between two attempts to buy while no worker is free."""

SELDOM = 3
"""Pauses of the job's pace between two questions about what is mostly heard of without asking."""

ACCEPT_AHEAD_S = 30.0
"""A provisional win is accepted so long before its deadline at the latest, or a quarter of the time that it had:
at the deadline it would be without a look at whether its worker was caught."""


@attrs.frozen(kw_only=True)
class Wait:
    """What a purchase that discovery refused waits for, and until when at the latest; ``for_limit`` if it is for the
    account's own tasks to be settled."""

    what: str
    until: float
    for_limit: bool = False


@attrs.define
class Retry:
    """When to ask again for workers that were not available: ``at``, if at all, after pauses that grow.

    ``reach`` is how many items the next request has at most. ``wait`` is set while discovery refuses even one."""

    first_s: float
    reach: int
    at: float | None = None
    wait: Wait | None = None
    pause_s: float = attrs.Factory(lambda self: self.first_s, takes_self=True)

    def later(self, now: float, *, least_s: float = 0.0) -> None:
        """Try again after a pause, longer than the one before."""
        self.at = now + max(self.pause_s, least_s)
        self.pause_s = min(2 * self.pause_s, MAX_RETRY_S)

    def no_later_than(self, at: float) -> None:
        """Try again at this time, if not before."""
        self.at = at if self.at is None else min(self.at, at)

    def is_due(self, now: float) -> bool:
        """Tell whether it is time, or there was never a reason to wait."""
        return self.at is None or now >= self.at


class JobState:
    """One job's tasks and times; ``Phase.MAP`` until a second phase is planned."""

    def __init__(self, policy: RunPolicy) -> None:
        self.policy = policy
        self.phase = Phase.MAP
        self.tasks = TaskBoard(())
        self.past: list[TaskBoard] = []
        self.by_id: dict[str, RunningTask] = {}
        self.avoid: dict[str, None] = {}
        self.ripe: dict[str, Attempt] = {}
        self.pace = Pace()
        self.tasks_retry = Retry(policy.retry_s, reach=MAX_BATCH)
        self.replicas_retry = Retry(policy.retry_s, reach=MAX_ORDERS)
        self.poll_at: float | None = None
        self.ask_from = -math.inf
        self.phase_over = False
        self.diagnosis: Diagnosis | None = None

    def plan(self, names: Iterable[TaskName]) -> None:
        """Begin a phase, the second one after the first."""
        if self.tasks:
            self.phase = Phase.REDUCE
            self.past.append(self.tasks)
        self.tasks = TaskBoard(names)
        self.pace = Pace()
        self.phase_over = False

    def count(self, *steps: Step) -> int:
        """Return how many tasks of this phase are in one of these states."""
        return self.tasks.count(*steps)

    def current(self, task_id: str, *steps: Step) -> tuple[RunningTask, Attempt] | None:
        """Return the task if this purchase of it is the current one and it is in one of these states: news may be
        stale."""
        task = self.by_id.get(task_id)
        if task is None or task.attempt is None or task.attempt.bought.task != task_id or task.step not in steps:
            return None
        return task, task.attempt

    @property
    def waiting(self) -> Wait | None:
        """What purchases that discovery refused wait for. That an account has as much under way as it may have says
        nothing while tasks run: they make room."""
        lacking = self.replicas_retry.wait if self.count(Step.LACKING, Step.EXTENDING) else None
        wait = lacking or (self.tasks_retry.wait if self.count(Step.WANTED, Step.BUYING) else None)
        return None if wait is not None and wait.for_limit and self.count(Step.RUNNING, Step.FETCHING) else wait

    @property
    def stuck_at_limit(self) -> bool:
        """Whether the account's limits keep the job from going on, and nothing runs that would make room."""
        return self.waiting is not None and self.waiting.for_limit

    @property
    def seldom_s(self) -> float:
        """The pause between two looks at what is mostly heard of without."""
        return SELDOM * self.pace.pause_s

    @property
    def accept_at(self) -> float | None:
        """When the provisional win that has waited longest has to be accepted."""
        return next((accept_by(task.current) for task in self.tasks.at(Step.PROVISIONAL)), None)

    def watch_soon(self, now: float) -> None:
        """Watch what runs then: when a watch has answered, and when there is more to watch."""
        if self.poll_at is None:
            self.poll_at = now + max(self.policy.poll_s, self.seldom_s)

    def wake(self, now: float) -> list[Instruction]:
        """Ask to be woken when there is something to do. An answer that is to come wakes by itself."""
        times = [self.poll_at, self.ask_from if self.ripe else None]
        if not self.count(Step.BUYING, Step.EXTENDING):
            times += [self.tasks_retry.at, self.replicas_retry.at]
        if not self.count(Step.ACCEPTING):
            times.append(self.accept_at)
        waits = [at for at in times if at is not None]
        return [Wake(at=max(now, min(waits)))] if waits else []


def accept_by(attempt: Attempt) -> float:
    """Return when a provisional win has to be accepted at the latest."""
    return attempt.deadline - min(ACCEPT_AHEAD_S, attempt.bought.deadline_s / 4)
