"""The part of a job's state machine that acts on discovery's verdicts."""

from __future__ import annotations

import attrs

from ec262.domain.foreman.job.verification_plan import adds_workers, replicas_to_add
from ec262.domain.foreman.run.asking import Questions
from ec262.domain.foreman.run.buying import NO_QUORUM, Purchases
from ec262.domain.foreman.run.disputing import Disputes
from ec262.domain.foreman.run.events import Fetch, Instruction, Judged
from ec262.domain.foreman.run.job_state import JobTasks
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.foreman.run.running_task import Attempt, RunningTask, Step
from ec262.domain.protocol.foreman_calls import Verdict
from ec262.domain.verification.rules import MAX_REPLICAS
from ec262.domain.verification.task_state import TaskState

WINS = frozenset({TaskState.WON, TaskState.SETTLED, TaskState.PROVISIONAL})
"""States with key, digest and winners; in the last one, there is only one winner."""


class Judging:
    """Fetches the results of won tasks, extends tasks that lack workers, and gives up tasks that cannot win."""

    def __init__(
        self,
        policy: RunPolicy,
        tasks: JobTasks,
        questions: Questions,
        purchases: Purchases,
        disputes: Disputes,
    ) -> None:
        self._policy = policy
        self._tasks = tasks
        self._questions = questions
        self._purchases = purchases
        self._disputes = disputes

    def on_judged(self, event: Judged) -> list[Instruction]:
        """Handle discovery's verdicts."""
        verdicts = {verdict.task: verdict for verdict in event.verdicts}
        heard = dict(zip(event.asked, event.heard or (), strict=False))
        instructions: list[Instruction] = []
        for task_id in event.asked:
            current = self._tasks.current(task_id, Step.RUNNING, Step.LACKING)
            if current is not None:
                task, attempt = current
                up_to_date = heard.get(task_id) == attempt.heard
                instructions += self.judge(task, attempt, verdicts.get(task_id), event.now, up_to_date=up_to_date)
        if event.heard is None:
            instructions += self._questions.watch_again(event.now)
        return instructions

    def judge(
        self, task: RunningTask, attempt: Attempt, verdict: Verdict | None, now: float, *, up_to_date: bool
    ) -> list[Instruction]:
        """Act on a verdict on a task that runs or lacks workers."""
        if verdict is None:
            return self._purchases.lose(task, attempt, "discovery no longer knows it", now)
        attempt.counted = verdict.committed
        if verdict.state is TaskState.PROVISIONAL and attempt.claim is not None:
            return self.check_claim(task, attempt, verdict, now)
        if verdict.state is TaskState.PROVISIONAL and task.kept == verdict.digest and attempt.coming(verdict):
            return []  # somebody is still checking it
        if verdict.state in WINS:
            return self._win(task, attempt, verdict, now)
        if verdict.state in {TaskState.REFUNDED, TaskState.LAPSED} or now >= attempt.deadline:
            return self._purchases.lose(task, attempt, "the deadline passed", now)
        why = self._why_stuck(attempt, verdict, up_to_date=up_to_date)
        return self._unstick(task, attempt, verdict, why, now) if why else []

    def _win(self, task: RunningTask, attempt: Attempt, verdict: Verdict, now: float) -> list[Instruction]:
        self._tasks.move(task, "won")
        self._questions.forget(attempt)
        attempt.verdict = verdict
        # Only workers that this foreman knows can be asked.
        drawn = {replica.worker for replica in attempt.bought.replicas}
        winners = [winner.worker for winner in verdict.winners if winner.worker in drawn]
        attempt.committed.update(winners)
        if task.kept is not None and task.kept == verdict.digest:
            if attempt.claim is not None and attempt.one_word:
                return self.check_claim(task, attempt, verdict, now)
            self.keep(task, attempt)
            return self._purchases.buy_soon(now)
        # Workers that failed before come last: waiting for another failure takes time.
        attempt.untried = sorted(winners, key=self._purchases.is_avoided)
        # The committed replicas have freed their slots: there may be room for wanted tasks now.
        return [*self.fetch(task, attempt, now), *self._purchases.buy_soon(now)]

    def check_claim(self, task: RunningTask, attempt: Attempt, verdict: Verdict, now: float) -> list[Instruction]:
        """Have another worker compute the task in which one worker alone reports a failure; if none can be added, buy
        the task again."""
        if verdict.state is not TaskState.PROVISIONAL or len(attempt.bought.replicas) >= MAX_REPLICAS:
            return self._purchases.lose(task, attempt, f"only one worker reports: {attempt.claim}", now)
        if attempt.outstanding or task.step is Step.LACKING:
            return []
        attempt.lacking = 1
        self._tasks.move(task, "lack")
        return self._purchases.buy_soon(now)

    def fetch(self, task: RunningTask, attempt: Attempt, now: float) -> list[Instruction]:
        """Ask the next winner for the result."""
        if attempt.verdict is None or not attempt.untried:
            return self._purchases.lose(task, attempt, "no winner delivered", now)
        replica = attempt.replica(attempt.untried.pop(0))
        return [Fetch(name=task.name, replica=replica, verdict=attempt.verdict, alone=attempt.one_word)]

    def give_up(self, task: RunningTask, attempt: Attempt, why: str, now: float) -> list[Instruction]:
        """Give up a purchase with a useless win, and want the task again."""
        return self._purchases.lose(task, attempt, why, now)

    def keep(self, task: RunningTask, attempt: Attempt) -> None:
        """Record that the winning result was delivered."""
        self._tasks.move(task, "delivered alone" if attempt.lone else "delivered")
        task.kept = attempt.verdict.digest if attempt.verdict else None

    def _why_stuck(self, attempt: Attempt, verdict: Verdict, *, up_to_date: bool) -> str:
        """Return why a purchase cannot win with its current workers, or an empty string if it can."""
        if not up_to_date:
            # The answer to an older question does not include later commitments. That no worker can commit is only
            # believed the second time, because a worker's reason may still be on its way.
            before, attempt.doomed = attempt.doomed, verdict.outstanding == 0
            return NO_QUORUM if before and attempt.doomed else ""
        if not attempt.outstanding:
            return NO_QUORUM
        if not attempt.rule.enough(verdict.committed + attempt.outstanding):
            return "too few replicas left"
        return ""

    def _unstick(
        self, task: RunningTask, attempt: Attempt, verdict: Verdict, why: str, now: float
    ) -> list[Instruction]:
        """Order more workers if the rule asks for them and there is room; otherwise give up the purchase."""
        coming = attempt.coming(verdict)
        if adds_workers(attempt.rule):
            # Discovery expects commitments from all workers that have not given up; the foreman knows which ones are
            # lost.
            verdict = attrs.evolve(verdict, wanted=verdict.wanted + verdict.outstanding - coming)
            if coming and not verdict.wanted:
                return []  # their commitments determine how many more are needed
        lacking = replicas_to_add(self._policy.rule, task.name, verdict)
        if verdict.state is not TaskState.OPEN or not 0 < lacking <= MAX_REPLICAS - len(attempt.bought.replicas):
            if why == NO_QUORUM and self._disputes.is_worthwhile(verdict):
                return self._disputes.buy(task)
            return self._purchases.lose(task, attempt, why, now)
        attempt.lacking = lacking
        if task.step is Step.LACKING:
            return []  # it is ordered as soon as workers may be available
        self._tasks.move(task, "lack")
        self._purchases.avoid(worker for worker in attempt.ended if worker not in attempt.committed)
        return self._purchases.buy_soon(now)
