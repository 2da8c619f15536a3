"""The part of a job's state machine that buys tasks, workers for tasks that lack them, and lost tasks again."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from itertools import islice

from ec262.domain.errors import Ec262Error, InsufficientCredits, LimitReached, NoEligibleWorkers, TaskAbandoned
from ec262.domain.foreman.job.diagnosis import Diagnosis
from ec262.domain.foreman.run.asking import Questions
from ec262.domain.foreman.run.events import Added, Bought, Buy, Dispatch, Extend, Fail, Instruction, LimitHit, TooPoor
from ec262.domain.foreman.run.job_state import JobTasks
from ec262.domain.foreman.run.purchase_retry import Retry, Wait
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.foreman.run.running_task import ORDERED, Attempt, RunningTask, Step
from ec262.domain.foreman.run.timer import JobTimer
from ec262.domain.protocol.foreman_calls import BoughtReplica, BoughtTask, ReplicaOrder
from ec262.domain.protocol.limits import MAX_BATCH, MAX_ORDERS
from ec262.domain.verification.rules import VerificationRule

NO_QUORUM = "no quorum of equal results"
NOBODY_TO_ADD = "no quorum of equal results, and no other worker to ask"
DIFFERENT = (
    "if no worker lied, the functions give different results on different machines: look for time, id(), os.urandom, "
    "the order of sets, or random generators of your own"
)


LEAST_ASKED = 20
"""The minimum number of tasks in a purchase, if there are as many."""


class Purchases:
    """Buys wanted tasks, one purchase at a time; workers for tasks that lack them take precedence over new tasks."""

    def __init__(self, policy: RunPolicy, tasks: JobTasks, timer: JobTimer, questions: Questions) -> None:
        self._policy = policy
        self._tasks = tasks
        self._timer = timer
        self._questions = questions
        self._tasks_retry = Retry(policy.retry_s, reach=MAX_BATCH)
        self._replicas_retry = Retry(policy.retry_s, reach=MAX_ORDERS)
        self._avoided: dict[str, None] = {}
        self._found: Diagnosis | None = None
        self._refunds: list[float] = []
        self._last_deadline = -math.inf
        self._limited_since: float | None = None
        self._idle_since: float | None = None
        self._buy_from = -math.inf
        """Tasks that become wanted earlier are bought together at this time."""
        timer.wakes(self._due)

    # --- avoided workers and waits ----------------------------------------------------------------------------------

    def avoid(self, workers: Iterable[str]) -> None:
        """Have these workers drawn only if there are not enough others."""
        self._avoided |= dict.fromkeys(workers)

    def is_avoided(self, worker: str) -> bool:
        """Tell whether a worker is to be avoided."""
        return worker in self._avoided

    @property
    def waiting(self) -> Wait | None:
        """The reason why refused purchases wait. Reaching the account's limit is not one while tasks run, because they
        make room when they end."""
        count = self._tasks.count
        lacking = self._replicas_retry.wait if count(Step.LACKING, Step.EXTENDING) else None
        wait = lacking or (self._tasks_retry.wait if count(Step.WANTED, Step.BUYING) else None)
        return None if wait is not None and wait.for_limit and count(Step.RUNNING, Step.FETCHING) else wait

    @property
    def stuck_at_limit(self) -> bool:
        """Whether the account's limits block the job, and no running task will make room."""
        waiting = self.waiting
        return waiting is not None and waiting.for_limit

    def _due(self) -> float | None:
        if self._tasks.count(*ORDERED):
            return None
        return min((retry.at for retry, _ in self._retries() if retry.at is not None), default=None)

    # --- timing -----------------------------------------------------------------------------------------------------

    def buy_soon(self, now: float) -> list[Instruction]:
        """Buy wanted tasks, after a pause to batch them if possible, because slots become free one by one."""
        count = self._tasks.count
        may_wait = count(Step.WANTED, Step.LACKING) and count(Step.RUNNING) and not count(*ORDERED)
        if now >= self._buy_from or not may_wait:
            return self.buy_wanted(now, slots_may_be_free=True)
        for retry, step in self._retries():
            if count(step):
                retry.no_later_than(self._buy_from)
        return self._timer.set(now)

    def buy_wanted(self, now: float, *, slots_may_be_free: bool = False) -> list[Instruction]:
        """Buy wanted tasks, unless a purchase is under way. Tasks without available workers wait for their next
        retry."""
        if self._tasks.count(*ORDERED):
            return self._timer.set(now)
        due = [(retry, step) for retry, step in self._retries() if slots_may_be_free or retry.is_due(now)]
        for retry, _ in due:
            retry.at = None
        wanted = next((step for _, step in due if self._tasks.count(step)), None)
        if wanted is None:
            return self._timer.set(now)
        self._buy_from = now + self._tasks.pause_s
        return [self._extend() if wanted is Step.LACKING else self._buy(), *self._timer.set(now)]

    def _retries(self) -> Iterable[tuple[Retry, Step]]:
        return (self._replicas_retry, Step.LACKING), (self._tasks_retry, Step.WANTED)

    # --- orders -----------------------------------------------------------------------------------------------------

    def _buy(self) -> Instruction:
        """Buy the tasks with the same rule that have waited longest, but not many more than there are workers for,
        judging by the last purchase: each requested task costs time here and at discovery."""
        tasks = self._tasks
        rule = self._rule_of(next(iter(tasks.at(Step.WANTED))))
        alike = (task for task in tasks.at(Step.WANTED) if self._rule_of(task) == rule)
        batch = list(islice(alike, self._tasks_retry.reach))
        for task in batch:
            tasks.move(task, "buy")
        return Buy(tasks=tuple(task.name for task in batch), rule=rule.spec, avoid=self._avoid())

    def _rule_of(self, task: RunningTask) -> VerificationRule:
        if task.rule is None:
            task.rule = self._policy.rule_of(task.name, task.purchases)
        return task.rule

    def _extend(self) -> Instruction:
        batch = list(islice(self._tasks.at(Step.LACKING), self._replicas_retry.reach))
        for task in batch:
            self._tasks.move(task, "order")
        return self._order(batch)

    def check(self, tasks: Collection[RunningTask]) -> Instruction:
        """Have another worker compute each of these provisional wins, if one is free and can be paid now."""
        for task in tasks:
            self._tasks.move(task, "check")
            task.current.lacking = 1
        return self._order(tasks)

    def _order(self, batch: Collection[RunningTask]) -> Instruction:
        attempts = [task.current for task in batch]
        orders = tuple(ReplicaOrder(task=attempt.bought.task, replicas=attempt.lacking) for attempt in attempts)
        return Extend(tasks=tuple(task.name for task in batch), orders=orders, avoid=self._avoid())

    def _avoid(self) -> tuple[str, ...]:
        return tuple(self._avoided)[:MAX_BATCH]

    # --- replies ----------------------------------------------------------------------------------------------------

    def handle(self, event: Bought | Added | TooPoor | LimitHit) -> list[Instruction]:
        """Handle discovery's reply to a purchase."""
        match event:
            case Bought():
                return self._on_bought(event)
            case Added():
                return self._on_added(event)
            case TooPoor() | LimitHit():
                return self._on_refused(event)

    def _on_bought(self, event: Bought) -> list[Instruction]:
        """Send out the work, and retry the tasks that were not assigned."""
        dispatches: list[Instruction] = []
        for name, bought in zip(event.asked, event.tasks, strict=False):
            dispatches += self._assigned(self._tasks[name], bought, event.now)
        short = event.asked[len(event.tasks) :]
        for name in short:
            self._tasks.move(self._tasks[name], "unassigned")
        retry = self._tasks_retry
        least = LEAST_ASKED if retry.reach >= LEAST_ASKED else 1  # fewer after discovery has refused this many
        retry.reach = min(MAX_BATCH, max(least, 2 * len(event.tasks if short else event.asked)))
        self._try_again(self._tasks_retry, event.now, got_some=bool(event.tasks), short=bool(short))
        if self._out_of_luck(event.now, got_some=bool(event.tasks)):
            waited = f"no worker was available for {self._policy.patience_s:g} s"
            return [Fail(error=NoEligibleWorkers(f"{waited}: {event.shortfall}"))]
        return [*dispatches, *self.buy_wanted(event.now)]

    def _assigned(self, task: RunningTask, bought: BoughtTask, now: float) -> Iterable[Instruction]:
        attempt = self._tasks.assign(task, bought, now)
        self._last_deadline = max(self._last_deadline, attempt.deadline)
        return self._dispatched(task, bought.task, bought.replicas, now)

    def _dispatched(
        self, task: RunningTask, task_id: str, replicas: Iterable[BoughtReplica], now: float
    ) -> Iterable[Instruction]:
        self._questions.watch_soon(now)
        return [Dispatch(name=task.name, task=task_id, replica=replica) for replica in replicas]

    def _on_added(self, event: Added) -> list[Instruction]:
        """Send the work to the added workers. A task without added workers may have been decided in the meantime, so
        ask about it; otherwise retry until its deadline, or until no task runs and patience is exhausted. A check is
        ordered only once."""
        added = {bought.task: bought for bought in event.tasks}
        instructions: list[Instruction] = []
        short: list[tuple[RunningTask, Attempt]] = []
        for name in event.asked:
            task, attempt = self._tasks[name], self._tasks[name].current
            more = added.get(attempt.bought.task)
            self._tasks.move(task, "not added" if more is None else "added")
            if more is None:
                if task.step is Step.LACKING:
                    short.append((task, attempt))
                    self._questions.ask_later(attempt)
            else:
                attempt.extend(more, event.now)
                self._last_deadline = max(self._last_deadline, attempt.deadline)
                instructions += self._dispatched(task, more.task, more.replicas, event.now)
        retry = self._replicas_retry
        retry.reach = min(MAX_ORDERS, max(retry.reach, 2 * len(event.asked)))
        self._try_again(retry, event.now, got_some=bool(added), short=bool(short))
        if self._out_of_luck(event.now, got_some=bool(added) or not short):
            self._idle_since = None
            instructions += [each for task, attempt in short for each in self._lost(task, attempt, NOBODY_TO_ADD)]
        return [*instructions, *self.buy_wanted(event.now)]

    def _on_refused(self, event: TooPoor | LimitHit) -> list[Instruction]:
        """Ask for fewer as long as waiting can help; if even one is refused, wait. If waiting cannot help, give up.
        The job continues without a refused check."""
        steps = {self._tasks[name].step for name in event.asked}
        extending = Step.BUYING not in steps
        for name in event.asked:
            self._tasks.move(self._tasks[name], "not added" if extending else "unassigned")
        if Step.CHECKING in steps:
            return self.buy_wanted(event.now)
        wait = self._refund_due(event) if isinstance(event, TooPoor) else self._room_due(event)
        if wait is None:
            claims = (self._tasks[name].current.claim for name in event.asked if extending)
            return [Fail(error=next(filter(None, claims), None) or self._refusal(event, extending=extending))]
        retry = self._replicas_retry if extending else self._tasks_retry
        if len(event.asked) > 1:
            retry.reach = len(event.asked) // 2
            return self.buy_wanted(event.now)
        retry.wait = wait
        if wait.for_limit:
            retry.later(event.now)
        else:
            retry.at = wait.until
        return self._timer.set(event.now)

    def _refund_due(self, event: TooPoor) -> Wait | None:
        """Return the wait for the next refund of a lost task, if there is one."""
        self._refunds = [at for at in self._refunds if at > event.now]
        if not self._refunds:
            return None
        what = f"waiting for the refund of a lost task ({event.have} credits left, {event.need} needed)"
        return Wait(what=what, until=min(self._refunds))

    def _room_due(self, event: LimitHit) -> Wait | None:
        """Return the wait until tasks of the account are settled: for this job's tasks as long as that can take, for
        those of other jobs as long as patience lasts."""
        policy = self._policy
        if self._limited_since is None:
            self._limited_since = event.now
        until = max(self._last_deadline + policy.grace_s, self._limited_since + policy.patience_s)
        if event.now >= until:
            return None
        return Wait(what=f"waiting for tasks to be settled ({event.error})", until=until, for_limit=True)

    def _refusal(self, event: TooPoor | LimitHit, *, extending: bool) -> Ec262Error:
        if isinstance(event, LimitHit):
            since = event.now if self._limited_since is None else self._limited_since
            return LimitReached(f"{event.error}; this did not change for {event.now - since:.0f} s")
        again = any(self._tasks[name].purchases for name in event.asked)
        why = "for a task that has to be bought again" if again else "to continue"
        if extending:
            why = "for additional workers, because the first ones differ or gave no result"
        return InsufficientCredits(have=event.have, need=event.need, why=why)

    def _try_again(self, retry: Retry, now: float, *, got_some: bool, short: bool) -> None:
        retry.wait = None
        if got_some:
            self._limited_since = None
            retry.pause_s = retry.first_s
        if short:
            # While tasks run, the foreman notices the slots that they free: only slots freed by others require retries.
            hears = self._tasks.count(Step.RUNNING) > 0
            retry.later(now, least_s=self._tasks.seldom_s if hears else 0.0)

    def _out_of_luck(self, now: float, *, got_some: bool) -> bool:
        """Tell whether no worker was available for too long while no task ran."""
        if got_some or self._tasks.count(Step.RUNNING, Step.FETCHING):
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        else:
            return now - self._idle_since >= self._policy.patience_s
        return False

    # --- lost tasks -------------------------------------------------------------------------------------------------

    def diagnosed(self, found: Diagnosis | None) -> None:
        """Record the diagnosis of workers that could not agree."""
        self._found = found

    def lose(
        self, task: RunningTask, attempt: Attempt, why: str, now: float, *, again: bool = True
    ) -> list[Instruction]:
        """Give up this purchase of a task, and want the task again, from other workers, as often as the policy allows.
        Without ``again``, give up the job."""
        return self._lost(task, attempt, why, again=again) or self.buy_soon(now)

    def _lost(self, task: RunningTask, attempt: Attempt, why: str, *, again: bool = True) -> list[Instruction]:
        workers = [replica.worker for replica in attempt.bought.replicas]
        silent = [worker for worker in workers if worker in attempt.ended or worker not in attempt.committed]
        # If all committed and none won, it is unknown who lied: try others.
        self.avoid(silent or workers)
        if attempt.verdict is None:
            self._refunds.append(attempt.deadline + self._policy.grace_s)
        task.give_up(why)
        self._tasks.move(task, "lost")
        self._questions.forget(attempt)
        if attempt.claim is not None and why == NOBODY_TO_ADD:
            again = False
        if task.purchases >= self._policy.attempts or not again:
            hint = self._hint(task.attempts) if why in {NO_QUORUM, NOBODY_TO_ADD} else ""
            error: Ec262Error = attempt.claim or TaskAbandoned(
                task=str(task.name), attempts=task.purchases, history=task.history, hint=hint
            )
            return [Fail(error=error)]
        return []

    def _hint(self, attempts: Collection[Attempt]) -> str:
        """Explain why workers may differ; a diagnosis of one task applies to the others, too. If no task has two
        results, there is no evidence that they differ."""
        found = self._found
        if found is not None:
            return f"the workers' results differ in {found}"
        return DIFFERENT if any(max(len(each.committed), each.counted) > 1 for each in attempts) else ""
