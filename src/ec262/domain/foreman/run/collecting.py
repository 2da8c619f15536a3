"""The part of a job's state machine that handles deliveries, accepts provisional wins, and ends phases."""

from __future__ import annotations

import enum
from collections import defaultdict
from heapq import nlargest
from itertools import islice

from ec262.domain.foreman.run.asking import Questions
from ec262.domain.foreman.run.buying import Purchases
from ec262.domain.foreman.run.events import (
    Accept,
    Accepted,
    CheckPhase,
    CodeFailed,
    Crashed,
    Fail,
    Finish,
    Instruction,
    PhaseChecked,
    ResultKept,
    StartReduce,
    Undelivered,
)
from ec262.domain.foreman.run.job_state import JobTasks
from ec262.domain.foreman.run.judging import Judging
from ec262.domain.foreman.run.running_task import DELIVERED, ORDERED, Attempt, Claim, RunningTask, Step
from ec262.domain.foreman.run.timer import JobTimer
from ec262.domain.protocol.limits import MAX_BATCH, MAX_ORDERS
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import Phase

ACCEPT_AHEAD_S = 30.0
"""A provisional win is accepted at least this long before its deadline, or a quarter of the task's time if that is
less: at the deadline it would be accepted without checking whether its worker was caught."""

MANY_PROVISIONAL = 5000
"""The maximum number of provisional wins, because discovery limits an account's tasks under way."""


TASKS_PER_CHECK = 50
"""When a phase ends, at most one provisional win is checked for each group of this many tasks. In a small phase, most
provisional wins are the only one of their worker, so checking all of these could double the price."""


class Check(enum.Enum):
    """The state of the check whether the results of the phase can coexist."""

    DUE = enum.auto()
    UNDER_WAY = enum.auto()
    PASSED = enum.auto()


class Results:
    """Holds the results of provisional wins until the end of their phase: a liar may be caught by then."""

    def __init__(
        self, tasks: JobTasks, timer: JobTimer, questions: Questions, purchases: Purchases, verdicts: Judging
    ) -> None:
        self._tasks = tasks
        self._timer = timer
        self._questions = questions
        self._purchases = purchases
        self._verdicts = verdicts
        self._phase_over = False
        self._to_check: list[RunningTask] | None = None
        self._check = Check.DUE
        timer.wakes(self._due)

    def _due(self) -> float | None:
        return None if self._tasks.count(Step.ACCEPTING) else self._accept_at()

    def _accept_at(self) -> float | None:
        """Return the time at which the oldest provisional win must be accepted."""
        return next((accept_by(task.current) for task in self._tasks.at(Step.PROVISIONAL)), None)

    def begin_phase(self) -> None:
        """Begin a phase: there are new tasks without results."""
        self._phase_over = False
        self._to_check = None
        self._check = Check.DUE

    def handle(
        self, event: Accepted | CodeFailed | Crashed | ResultKept | PhaseChecked | Undelivered
    ) -> list[Instruction]:
        """Handle the outcome of a win."""
        match event:
            case ResultKept():
                return self._on_delivered(event)
            case Undelivered():
                return self._on_undelivered(event)
            case CodeFailed():
                return self._on_code_failed(event)
            case Crashed():
                return self._on_crashed(event)
            case Accepted():
                return self._on_accepted(event)
            case PhaseChecked():
                return self._on_checked(event)

    def _on_delivered(self, event: ResultKept) -> list[Instruction]:
        current = self._tasks.current(event.task, Step.FETCHING)
        if current is None:
            return []
        self._verdicts.keep(*current)
        # The first provisional win sets the time of acceptance.
        return self._timer.set(event.now) if self._tasks.count(Step.PROVISIONAL) == 1 else []

    def _on_undelivered(self, event: Undelivered) -> list[Instruction]:
        """Ask another winner."""
        current = self._tasks.current(event.task, Step.FETCHING)
        if current is None:
            return []
        task, attempt = current
        attempt.ended[event.worker] = f"won but did not deliver: {event.reason}"
        self._purchases.avoid([event.worker])
        return self._verdicts.fetch(task, attempt, event.now)

    def _on_code_failed(self, event: CodeFailed) -> list[Instruction]:
        """End the job. A failure that one worker alone reports must be confirmed by another, because the end is
        final."""
        current = self._tasks.current(event.task, Step.FETCHING)
        if current is None:
            return []
        task, attempt = current
        if not attempt.one_word:
            return [Fail(error=event.error)]
        return self._doubt(task, attempt, event.error, event.now)

    def _doubt(self, task: RunningTask, attempt: Attempt, error: Claim, now: float) -> list[Instruction]:
        """Have another worker confirm a claim by one worker alone that would end the job."""
        attempt.claim = error.unconfirmed()
        if task.step is not Step.DONE:
            self._tasks.move(task, "claimed")
            self._questions.watch_soon(now)
        assert attempt.verdict is not None  # noqa: S101 - one worker vouches for it
        return self._verdicts.check_claim(task, attempt, attempt.verdict, now)

    def _on_checked(self, event: PhaseChecked) -> list[Instruction]:
        """Go on, or end the job if it is certain to fail. Have the results confirmed that would make it fail on one
        worker's word."""
        self._check = Check.DUE
        if not self._all_delivered:  # a win was reopened in the meantime
            return []
        if event.error is None:
            self._check = Check.PASSED
            return []
        if not event.tasks:
            return [Fail(error=event.error)]
        instructions: list[Instruction] = []
        for name in event.tasks:
            task = self._tasks[name]
            if task.step in {Step.PROVISIONAL, Step.DONE} and task.current.one_word:
                instructions += self._doubt(task, task.current, event.error, event.now)
        return [*instructions, *self._timer.set(event.now)]

    def _on_crashed(self, event: Crashed) -> list[Instruction]:
        """Have other workers try: machines crash for their own reasons, so several crashes may be a coincidence."""
        current = self._tasks.current(event.task, Step.FETCHING)
        if current is None:
            return []
        task, attempt = current
        return self._verdicts.give_up(task, attempt, f"its process crashed: {event.detail}", event.now)

    def _on_accepted(self, event: Accepted) -> list[Instruction]:
        """Finish the tasks that won; go on with those that were reopened or won with another result."""
        verdicts = {verdict.task: verdict for verdict in event.verdicts}
        instructions: list[Instruction] = []
        for task_id in event.asked:
            current = self._tasks.current(task_id, Step.ACCEPTING)
            if current is None:
                continue
            task, attempt = current
            verdict = verdicts.get(task_id)
            won = verdict is not None and verdict.state in {TaskState.WON, TaskState.SETTLED}
            if verdict is not None and won and verdict.digest == task.kept:
                self._tasks.move(task, "accepted")
                attempt.verdict = verdict
            else:
                self._tasks.move(task, "reopened")
                self._questions.watch_soon(event.now)
                instructions += self._verdicts.judge(task, attempt, verdict, event.now, up_to_date=True)
        return [*instructions, *self._timer.set(event.now)]

    def go_on(self, now: float) -> list[Instruction]:
        """Have the last provisional win of each worker checked once all results are there. Accept provisional wins if
        it is time, batch by batch; end the phase when all tasks are done."""
        tasks = self._tasks
        if self._phase_over or not tasks or self._check is Check.UNDER_WAY:
            return []
        if self._to_check is None and self._all_delivered:
            self._to_check = self._last_wins()
        if self._to_check and not tasks.count(*ORDERED):
            waiting = [task for task in self._to_check if task.step is Step.PROVISIONAL]
            self._to_check = waiting[MAX_ORDERS:]
            if waiting:
                return [self._purchases.check(waiting[:MAX_ORDERS])]
        if not self._all_delivered:
            self._check = Check.DUE
        elif self._check is Check.DUE:
            # Check before anything is accepted: workers can only be added while a task is provisional.
            doubted = tuple(task.name for task in tasks if task.current.one_word)
            self._check = Check.UNDER_WAY if doubted else Check.PASSED
            if doubted:
                return [CheckPhase(doubted=doubted)]
        if tasks.count(Step.DONE) == len(tasks):
            self._phase_over = True
            return [StartReduce()] if tasks.phase is Phase.MAP else [Finish()]
        batch = [] if tasks.count(Step.ACCEPTING) else self._to_accept(now)
        if not batch:
            return []
        for task in batch:
            tasks.move(task, "accept")
        return [Accept(tasks=tuple(task.current.bought.task for task in batch))]

    @property
    def _all_delivered(self) -> bool:
        return self._tasks.count(*DELIVERED) == len(self._tasks)

    def _last_wins(self) -> list[RunningTask]:
        """Return the last provisional win of each worker, beginning with the workers that have the most such wins. A
        saboteur that has woken up lies in its last one, too, and cannot know which one that is."""
        wins: defaultdict[str, list[RunningTask]] = defaultdict(list)
        for task in self._tasks.at(Step.PROVISIONAL):
            verdict = task.current.verdict
            for winner in verdict.winners if verdict else ():
                wins[winner.worker].append(task)
        return [tasks[-1] for tasks in nlargest(len(self._tasks) // TASKS_PER_CHECK, wins.values(), key=len)]

    def _to_accept(self, now: float) -> list[RunningTask]:
        tasks = self._tasks
        waiting = tasks.at(Step.PROVISIONAL)
        if self._all_delivered or len(waiting) > MANY_PROVISIONAL or self._purchases.stuck_at_limit:
            return list(islice(waiting, MAX_BATCH))
        # The first one has waited longest. The workers of more recent wins may still be caught.
        accept_at = self._accept_at()
        if accept_at is None or now < accept_at:
            return []
        return [task for task in islice(waiting, MAX_BATCH) if now >= accept_by(task.current)]


def accept_by(attempt: Attempt) -> float:
    """Return the latest time at which a provisional win must be accepted."""
    return attempt.deadline - min(ACCEPT_AHEAD_S, attempt.bought.deadline_s / 4)
