"""The core of the foreman: one job as a pure state machine, events in, instructions out.

It has no data, no socket and no clock. Each task goes through the states of ``running_task``. ``asking``, ``buying``,
``judging``, ``disputing`` and ``collecting`` are its parts, each with a state of its own.
``services/foreman/job_driver.py`` carries out its instructions and reports the outcomes as events.
"""

from __future__ import annotations

from ec262.domain.foreman.run.asking import Questions
from ec262.domain.foreman.run.buying import Purchases
from ec262.domain.foreman.run.collecting import Results
from ec262.domain.foreman.run.disputing import Disputes
from ec262.domain.foreman.run.events import (
    Accepted,
    Added,
    Bought,
    CodeFailed,
    Crashed,
    Diagnosed,
    Event,
    Fail,
    Finish,
    Instruction,
    Judged,
    LimitHit,
    PhaseChecked,
    PhaseGrew,
    PhasePlanned,
    ReplicaCommitted,
    ReplicaEnded,
    ResultKept,
    TimerRang,
    TooPoor,
    Undelivered,
)
from ec262.domain.foreman.run.job_history import TaskHistory, task_history
from ec262.domain.foreman.run.job_state import JobTasks
from ec262.domain.foreman.run.judging import Judging
from ec262.domain.foreman.run.purchase_retry import Wait
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.foreman.run.running_task import UNDER_WAY, Step
from ec262.domain.foreman.run.timer import JobTimer
from ec262.domain.work.work import Phase


class JobRun:
    """One job from its first purchase to its last delivery."""

    def __init__(self, policy: RunPolicy) -> None:
        self._tasks = tasks = JobTasks()
        timer = JobTimer()
        self._questions = asking = Questions(policy, tasks, timer)
        self._purchases = buying = Purchases(policy, tasks, timer, asking)
        self._disputes = Disputes(tasks, buying, attempts=policy.attempts)
        self._verdicts = Judging(policy, tasks, asking, buying, self._disputes)
        self._results = Results(tasks, timer, asking, buying, self._verdicts)
        self._over = False

    # --- state for the driver ---------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self._tasks.phase

    @property
    def total(self) -> int:
        """The number of tasks in this phase."""
        return len(self._tasks)

    def count(self, *steps: Step) -> int:
        """Return how many tasks of this phase are in one of these states."""
        return self._tasks.count(*steps)

    @property
    def waiting(self) -> Wait | None:
        """What the job waits for, if discovery refused a purchase."""
        return self._purchases.waiting

    def history(self) -> tuple[TaskHistory, ...]:
        """Return the history of every task of both phases so far: each purchase, with its workers and its verdict."""
        return tuple(map(task_history, self._tasks.all()))

    # --- events -----------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Instruction]:
        """Handle one event; return the instructions, in order. After ``Finish`` or ``Fail`` there are none."""
        if self._over:
            return []
        match event:
            case PhasePlanned():
                return self._closed(self._on_planned(event))
            case PhaseGrew():
                self._tasks.grow(event.tasks)
                instructions = self._purchases.buy_wanted(event.now)
            case Bought() | Added() | TooPoor() | LimitHit():
                instructions = self._purchases.handle(event)
            case ReplicaCommitted():
                instructions = self._on_committed(event)
            case ReplicaEnded():
                instructions = self._on_ended(event)
            case Judged():
                instructions = self._verdicts.on_judged(event)
            case Accepted() | CodeFailed() | Crashed() | ResultKept() | PhaseChecked() | Undelivered():
                instructions = self._results.handle(event)
            case Diagnosed():
                instructions = self._disputes.on_diagnosed(event)
            case TimerRang():
                instructions = self._on_timer(event.now)
        return self._closed([*instructions, *self._results.go_on(event.now)])

    def _closed(self, instructions: list[Instruction]) -> list[Instruction]:
        """Drop all other instructions if the run ends."""
        for instruction in instructions:
            if isinstance(instruction, Finish | Fail):
                self._over = True
                return [instruction]
        return instructions

    def _on_planned(self, event: PhasePlanned) -> list[Instruction]:
        self._tasks.plan(event.tasks)
        self._results.begin_phase()
        return self._purchases.buy_wanted(event.now) if event.tasks else [Finish()]

    # --- replicas ---------------------------------------------------------------------------------------------------

    def _on_committed(self, event: ReplicaCommitted) -> list[Instruction]:
        current = self._tasks.current(event.task, *UNDER_WAY)
        if current is None:
            return []
        task, attempt = current
        attempt.committed.add(event.worker)
        if task.step not in {Step.RUNNING, Step.LACKING}:
            return []
        self._tasks.took(event.now - attempt.began)
        # Ask as soon as the rule would be satisfied if all commitments were equal.
        if not attempt.rule.enough(len(attempt.committed)) and attempt.outstanding:
            return []
        return self._questions.ask(attempt, event.now)

    def _on_ended(self, event: ReplicaEnded) -> list[Instruction]:
        current = self._tasks.current(event.task, *UNDER_WAY)
        if current is None or event.worker in current[1].committed:
            return []  # a commitment counts, whatever happens to its worker later
        task, attempt = current
        attempt.ended[event.worker] = event.reason
        if task.step is Step.FETCHING:
            return []
        may_win = attempt.rule.enough(len(attempt.committed) + attempt.outstanding) and attempt.outstanding
        return [] if may_win or task.step is not Step.RUNNING else self._questions.ask(attempt, event.now)

    # --- time -------------------------------------------------------------------------------------------------------

    def _on_timer(self, now: float) -> list[Instruction]:
        instructions = [*self._questions.watch_if_due(now), *self._questions.ask_if_due(now)]
        return [*instructions, *self._purchases.buy_wanted(now)]
