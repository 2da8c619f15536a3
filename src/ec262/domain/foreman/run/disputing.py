"""The part of a job's state machine that finds out why all workers of a task committed but none won."""

from __future__ import annotations

from ec262.domain.foreman.job.diagnosis import Suspect
from ec262.domain.foreman.run.buying import NO_QUORUM, Purchases
from ec262.domain.foreman.run.events import Diagnosed, Dispute, Instruction
from ec262.domain.foreman.run.job_state import JobTasks
from ec262.domain.foreman.run.running_task import RunningTask, Step
from ec262.domain.protocol.foreman_calls import Verdict
from ec262.domain.verification.task_state import TaskState

CERTAIN = frozenset({Suspect.FLOATS, Suspect.ORDER, Suspect.TIME})
"""Causes that no liar produces by chance: buying such a task again is useless."""

TWO = 2


class Disputes:
    """Buys one dispute per job, because the cause in one task applies to the others. It passes over the first
    opportunity if there may be another: liars may meet in a task by chance, and a dispute pays them."""

    def __init__(self, tasks: JobTasks, purchases: Purchases, *, attempts: int) -> None:
        """``attempts`` is the maximum number of purchases of a task."""
        self._tasks = tasks
        self._purchases = purchases
        self._bought = False
        self._passed_over = attempts == 1

    def is_worthwhile(self, verdict: Verdict) -> bool:
        """Tell whether there are results to compare, no dispute was bought yet, and this is not the first
        opportunity."""
        over = verdict.state is TaskState.OPEN and verdict.outstanding == 0
        if self._bought or not over or verdict.committed < TWO:
            return False
        passed_over, self._passed_over = self._passed_over, True
        return passed_over

    def buy(self, task: RunningTask) -> list[Instruction]:
        """Pay all workers that committed, to see their results before the task is given up."""
        self._bought = True
        self._tasks.move(task, "dispute")
        bought = task.current.bought
        return [Dispute(name=task.name, task=bought.task, replicas=bought.replicas)]

    def on_diagnosed(self, event: Diagnosed) -> list[Instruction]:
        """Give up the job if it cannot succeed, otherwise only this purchase of the task."""
        current = self._tasks.current(event.task, Step.DISPUTING)
        if current is None:
            return []
        task, attempt = current
        attempt.verdict = event.verdict
        self._purchases.diagnosed(event.diagnosis)
        again = event.diagnosis is None or event.diagnosis.suspect not in CERTAIN
        return self._purchases.lose(task, attempt, NO_QUORUM, event.now, again=again)
