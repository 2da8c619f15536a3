"""The part of a job's state machine that asks discovery for the verdicts on tasks."""

from __future__ import annotations

import math
from itertools import islice

from ec262.domain.foreman.run.events import AskVerdicts, Instruction
from ec262.domain.foreman.run.job_state import JobTasks
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.foreman.run.running_task import Attempt, Step
from ec262.domain.foreman.run.timer import JobTimer
from ec262.domain.protocol.limits import MAX_BATCH


class Questions:
    """Batches the questions about ripe tasks (those that may have won), and watches running ones."""

    def __init__(self, policy: RunPolicy, tasks: JobTasks, timer: JobTimer) -> None:
        self._policy = policy
        self._tasks = tasks
        self._timer = timer
        self._ripe: dict[str, Attempt] = {}
        self._ask_from = -math.inf
        self._watch_at: float | None = None
        timer.wakes(self._due)

    def _due(self) -> float | None:
        if not self._ripe:
            return self._watch_at
        return self._ask_from if self._watch_at is None else min(self._ask_from, self._watch_at)

    # --- asking -----------------------------------------------------------------------------------------------------

    def ask(self, attempt: Attempt, now: float) -> list[Instruction]:
        """Ask about a task, at once or together with others."""
        self.ask_later(attempt)
        return self._ask_soon(now)

    def ask_later(self, attempt: Attempt) -> None:
        """Ask about a task together with the next ones."""
        self._ripe[attempt.bought.task] = attempt

    def ask_if_due(self, now: float) -> list[Instruction]:
        """Ask about ripe tasks if they have waited long enough."""
        return self._ask_soon(now) if self._ripe and now >= self._ask_from else []

    def forget(self, attempt: Attempt) -> None:
        """Drop the question about a task."""
        self._ripe.pop(attempt.bought.task, None)

    def _ask_soon(self, now: float) -> list[Instruction]:
        """Ask about all ripe tasks after the pause, or at once if there is no other task to wait for."""
        if now < self._ask_from and len(self._ripe) < self._tasks.count(Step.RUNNING):
            return self._timer.set(now)
        self._ask_from = now + self._tasks.pause_s
        ripe, self._ripe = iter(self._ripe.items()), {}
        questions: list[Instruction] = []
        while batch := dict(islice(ripe, MAX_BATCH)):
            heard = tuple(attempt.heard for attempt in batch.values())
            questions.append(AskVerdicts(tasks=tuple(batch), heard=heard))
        return questions

    # --- watching ---------------------------------------------------------------------------------------------------

    def watch_soon(self, now: float) -> None:
        """Watch running tasks after a pause, because there are new ones."""
        if self._watch_at is None:
            self._watch_at = now + max(self._policy.poll_s, self._tasks.seldom_s)

    def watch_again(self, now: float) -> list[Instruction]:
        """Watch running tasks after a pause, because a watch was answered."""
        self.watch_soon(now)
        return self._timer.set(now)

    def watch_if_due(self, now: float) -> list[Instruction]:
        """Watch running tasks if it is time. If there are too many, watch those that have run longest; the others get
        their turn later."""
        if self._watch_at is None or now < self._watch_at:
            return []
        self._watch_at = None
        running = tuple(task.current.bought.task for task in islice(self._tasks.at(Step.RUNNING), MAX_BATCH))
        return [AskVerdicts(tasks=running)] if running else []
