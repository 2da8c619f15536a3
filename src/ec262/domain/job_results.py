"""The part of a job's state machine that sees to deliveries, has provisional wins accepted, and ends phases."""

from __future__ import annotations

from itertools import islice

from ec262.domain.commands import MAX_BATCH, TaskState
from ec262.domain.job import Phase
from ec262.domain.job_events import (
    Accept,
    Accepted,
    CodeFailed,
    Crashed,
    Delivered,
    Fail,
    Finish,
    Instruction,
    StartReduce,
    Undelivered,
)
from ec262.domain.job_state import JobState, accept_by
from ec262.domain.job_task import DELIVERED, RunningTask, Step
from ec262.domain.job_verdicts import Verdicts

MANY_PROVISIONAL = 5000
"""More are not left provisional: discovery lets an account have only so many tasks under way."""


class Results:
    """Holds results of provisional wins until the end of their phase: whoever lies may be caught until then."""

    def __init__(self, state: JobState, verdicts: Verdicts) -> None:
        self._state = state
        self._verdicts = verdicts

    def handle(self, event: Accepted | CodeFailed | Crashed | Delivered | Undelivered) -> list[Instruction]:
        """Take in what became of a win."""
        match event:
            case Delivered():
                return self._on_delivered(event)
            case Undelivered():
                return self._on_undelivered(event)
            case CodeFailed():
                return self._on_code_failed(event)
            case Crashed():
                return self._on_crashed(event)
            case Accepted():
                return self._on_accepted(event)

    def _on_delivered(self, event: Delivered) -> list[Instruction]:
        current = self._state.current(event.task, Step.FETCHING)
        if current is None:
            return []
        self._verdicts.keep(*current)
        # The first that waits is the first to be accepted in time.
        return self._state.wake(event.now) if self._state.count(Step.PROVISIONAL) == 1 else []

    def _on_undelivered(self, event: Undelivered) -> list[Instruction]:
        """Ask another winner."""
        current = self._state.current(event.task, Step.FETCHING)
        if current is None:
            return []
        task, attempt = current
        attempt.ended[event.worker] = f"won, but did not deliver: {event.reason}"
        self._state.avoid[event.worker] = None
        return self._verdicts.fetch(task, attempt, event.now)

    def _on_code_failed(self, event: CodeFailed) -> list[Instruction]:
        """End the job; where one worker alone says so, another has to say so, too: an end is never opened again."""
        current = self._state.current(event.task, Step.FETCHING)
        if current is None:
            return []
        task, attempt = current
        if attempt.verdict is None or len(attempt.verdict.winners) > 1 or not attempt.rule.weighs_trust:
            return [Fail(error=event.error)]
        attempt.claim = event.error.unconfirmed()
        self._state.tasks.move(task, "claimed")
        return self._verdicts.check_claim(task, attempt, attempt.verdict, event.now)

    def _on_crashed(self, event: Crashed) -> list[Instruction]:
        """Have others try: machines crash for reasons of their own, so that several agree may be chance."""
        current = self._state.current(event.task, Step.FETCHING)
        if current is None:
            return []
        task, attempt = current
        return self._verdicts.give_up(task, attempt, f"its process crashed: {event.detail}", event.now)

    def _on_accepted(self, event: Accepted) -> list[Instruction]:
        """Be done with what won; go on with what was opened again, or is won by something else by now."""
        verdicts = {verdict.task: verdict for verdict in event.verdicts}
        instructions: list[Instruction] = []
        for task_id in event.asked:
            current = self._state.current(task_id, Step.ACCEPTING)
            if current is None:
                continue
            task, attempt = current
            verdict = verdicts.get(task_id)
            won = verdict is not None and verdict.state in {TaskState.WON, TaskState.SETTLED}
            if verdict is not None and won and verdict.digest == task.kept:
                self._state.tasks.move(task, "accepted")
                attempt.verdict = verdict
            else:
                self._state.tasks.move(task, "reopened")
                self._state.watch_soon(event.now)
                instructions += self._verdicts.judge(task, attempt, verdict, event.now, up_to_date=True)
        return [*instructions, *self._state.wake(event.now)]

    def go_on(self, now: float) -> list[Instruction]:
        """Have provisional wins accepted if it is time, one batch after the other; end the phase when all is done."""
        state = self._state
        if state.phase_over or not state.tasks:
            return []
        if state.count(Step.DONE) == len(state.tasks):
            state.phase_over = True
            return [StartReduce()] if state.phase is Phase.MAP else [Finish()]
        batch = [] if state.count(Step.ACCEPTING) else self._due(now)
        if not batch:
            return []
        for task in batch:
            state.tasks.move(task, "accept")
        return [Accept(tasks=tuple(task.current.bought.task for task in batch))]

    def _due(self, now: float) -> list[RunningTask]:
        state = self._state
        waiting = state.tasks.at(Step.PROVISIONAL)
        if state.count(*DELIVERED) == len(state.tasks) or len(waiting) > MANY_PROVISIONAL or state.stuck_at_limit:
            return list(islice(waiting, MAX_BATCH))
        # The first has waited longest: what has not is left to be caught.
        if state.accept_at is None or now < state.accept_at:
            return []
        return [task for task in islice(waiting, MAX_BATCH) if now >= accept_by(task.current)]
