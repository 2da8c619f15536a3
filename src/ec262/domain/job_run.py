"""The heart of the foreman: one job as a pure state machine, events in, instructions out.

It holds no data, no socket and no clock. Each task goes through the states of ``job_task``. The foreman's service is
the shell that carries the instructions out and reports what came of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice

import attrs

from ec262.domain.commands import MAX_BATCH, BoughtTask, TaskState, Verdict
from ec262.domain.errors import Ec262Error, InsufficientCredits, NoEligibleWorkers, TaskAbandoned, TaskLimitExceeded
from ec262.domain.job import Phase
from ec262.domain.job_events import (
    AskVerdicts,
    Bought,
    Buy,
    Delivered,
    Dispatch,
    Event,
    Fail,
    Fetch,
    Finish,
    Instruction,
    JobFailed,
    Judged,
    PhasePlanned,
    ReplicaCommitted,
    ReplicaEnded,
    StartReduce,
    TimerRang,
    TooPoor,
    Undelivered,
    Wake,
)
from ec262.domain.job_task import Attempt, RunningTask, Step, TaskBoard
from ec262.domain.pace import Pace
from ec262.domain.verification import VerificationRule

NO_QUORUM = "no quorum of equal results"
DIFFERENT = (
    "if nobody lied, the functions give different results on different machines: look for time, id(), os.urandom, "
    "the order of sets, random generators of your own"
)

MAX_RETRY_S = 2.0
"""The longest pause between two attempts to buy while no worker is free."""

SELDOM = 3
"""Pauses of the job's pace between two questions about what is mostly heard of without asking."""


@attrs.frozen(kw_only=True)
class RunPolicy:
    """How patient a run is; times in seconds.

    ``attempts`` is how often one task is bought before the job is given up. ``patience_s`` is how long to wait while
    not a single worker can be had. ``retry_s`` is the first pause between two attempts to buy, ``poll_s`` the shortest
    one before discovery is watched for tasks whose workers may have committed without saying so. ``grace_s`` is how
    long after a deadline discovery is asked for its last word.
    """

    rule: VerificationRule
    attempts: int = attrs.field(default=3, validator=attrs.validators.ge(1))
    patience_s: float = 60.0
    retry_s: float = 0.2
    poll_s: float = 2.0
    grace_s: float = 1.0


class JobRun:
    """One job from its first purchase to its last delivery."""

    def __init__(self, policy: RunPolicy) -> None:
        self._policy = policy
        self._phase = Phase.MAP
        self._tasks = TaskBoard(())
        self._by_id: dict[str, RunningTask] = {}
        self._avoid: dict[str, None] = {}
        self._refunds: list[float] = []
        self._retry_pause_s = policy.retry_s
        self._retry_at: float | None = None
        self._buy_from = self._ask_from = -math.inf
        self._ripe: dict[str, Attempt] = {}
        self._pace = Pace()
        self._poll_at: float | None = None
        self._idle_since: float | None = None
        self._over = False

    # --- what the shell may look at ---------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """The phase under way."""
        return self._phase

    def count(self, *steps: Step) -> int:
        """Return how many tasks of this phase are in one of these states."""
        return sum(len(self._tasks.at(step)) for step in steps)

    # --- the machine ------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Instruction]:
        """Take in one event; return what is to be done, in order. After ``Finish`` or ``Fail`` nothing is."""
        if self._over:
            return []
        match event:
            case PhasePlanned():
                instructions = self._on_planned(event)
            case Bought():
                instructions = self._on_bought(event)
            case TooPoor():
                instructions = self._on_too_poor(event)
            case ReplicaCommitted():
                instructions = self._on_committed(event)
            case ReplicaEnded():
                instructions = self._on_ended(event)
            case Judged():
                instructions = self._on_judged(event)
            case Delivered():
                instructions = self._on_delivered(event)
            case Undelivered():
                instructions = self._on_undelivered(event)
            case TimerRang():
                instructions = self._on_timer(event)
            case JobFailed():
                instructions = [Fail(error=event.error)]
        return self._closed(instructions)

    def _closed(self, instructions: list[Instruction]) -> list[Instruction]:
        """Drop whatever comes with an end of the run: nobody is to act on it."""
        for instruction in instructions:
            if isinstance(instruction, Finish | Fail):
                self._over = True
                return [instruction]
        return instructions

    def _on_planned(self, event: PhasePlanned) -> list[Instruction]:
        if self._tasks:
            self._phase = Phase.REDUCE
        self._tasks = TaskBoard(event.tasks)
        self._pace = Pace()
        if not self._tasks:
            return [Finish()]
        return self._buy_wanted(event.now)

    @property
    def _seldom_s(self) -> float:
        return SELDOM * self._pace.pause_s

    # --- buying -----------------------------------------------------------------------------------------------------

    def _buy_wanted(self, now: float) -> list[Instruction]:
        """Buy everything that is wanted, unless a purchase is under way."""
        batch = list(islice(self._tasks.at(Step.WANTED), MAX_BATCH))
        if not batch or self.count(Step.BUYING):
            return self._wake(now)
        self._retry_at = None
        self._buy_from = now + self._pace.pause_s
        for task in batch:
            self._tasks.move(task, "buy")
        buy = Buy(tasks=tuple(task.name for task in batch), avoid=tuple(self._avoid)[:MAX_BATCH])
        return [buy, *self._wake(now)]

    def _buy_soon(self, now: float) -> list[Instruction]:
        """Buy what is wanted, with what else will be by then: slots become free one by one."""
        may_wait = self.count(Step.WANTED) and self.count(Step.RUNNING) and not self.count(Step.BUYING)
        if now >= self._buy_from or not may_wait:
            return self._buy_wanted(now)
        self._retry_at = self._buy_from if self._retry_at is None else min(self._retry_at, self._buy_from)
        return self._wake(now)

    def _on_bought(self, event: Bought) -> list[Instruction]:
        dispatches: list[Instruction] = []
        for name, bought in zip(event.asked, event.tasks, strict=False):
            dispatches += self._assigned(self._tasks[name], bought, event.now)
        short = event.asked[len(event.tasks) :]
        for name in short:
            self._tasks.move(self._tasks[name], "unassigned")
        if event.tasks:
            self._retry_pause_s = self._policy.retry_s
        if short:
            # While tasks run, the slots that they free are heard of: only what others free has to be asked for.
            hears = self.count(Step.RUNNING) > 0
            self._retry_at = event.now + max(self._retry_pause_s, self._seldom_s if hears else 0.0)
            self._retry_pause_s = min(2 * self._retry_pause_s, MAX_RETRY_S)
        if event.tasks or self.count(Step.RUNNING, Step.FETCHING):
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = event.now
        elif event.now - self._idle_since >= self._policy.patience_s:
            waited = f"no worker could be had for {self._policy.patience_s:g} s"
            return [Fail(error=NoEligibleWorkers(f"{waited}: {event.shortfall}"))]
        if short:
            return [*dispatches, *self._wake(event.now)]
        return [*dispatches, *self._buy_wanted(event.now)]

    def _assigned(self, task: RunningTask, bought: BoughtTask, now: float) -> Iterable[Instruction]:
        self._tasks.move(task, "assigned")
        task.purchases += 1
        task.attempt = Attempt(bought=bought, deadline=now + bought.deadline_s)
        self._by_id[bought.task] = task
        self._watch_soon(now)
        return [Dispatch(name=task.name, task=bought.task, replica=replica) for replica in bought.replicas]

    def _on_too_poor(self, event: TooPoor) -> list[Instruction]:
        """Wait for the refund of a lost task, if one is to come; else give up."""
        for name in event.asked:
            self._tasks.move(self._tasks[name], "unassigned")
        self._refunds = [at for at in self._refunds if at > event.now]
        if not self._refunds:
            again = any(self._tasks[name].purchases for name in event.asked)
            why = "for a task that has to be bought again" if again else "to go on"
            return [Fail(error=InsufficientCredits(have=event.have, need=event.need, why=why))]
        self._retry_at = min(self._refunds)
        return self._wake(event.now)

    # --- replicas ---------------------------------------------------------------------------------------------------

    def _current(self, task_id: str, step: Step) -> tuple[RunningTask, Attempt] | None:
        """Return the task if this purchase of it is the current one and it is in this state: news may be stale."""
        task = self._by_id.get(task_id)
        if task is None or task.attempt is None or task.attempt.bought.task != task_id or task.step is not step:
            return None
        return task, task.attempt

    def _on_committed(self, event: ReplicaCommitted) -> list[Instruction]:
        current = self._current(event.task, Step.RUNNING)
        if current is None:
            return []
        attempt = current[1]
        attempt.committed.add(event.worker)
        self._pace.took(event.now - attempt.began)
        # Ask as soon as the rule could be satisfied, should all commitments be equal.
        if self._policy.rule.verdict([b""] * len(attempt.committed)) is None and attempt.outstanding:
            return []
        return self._ask(attempt, event.now)

    def _on_ended(self, event: ReplicaEnded) -> list[Instruction]:
        current = self._current(event.task, Step.RUNNING)
        if current is None:
            return []
        task, attempt = current
        if event.worker in attempt.committed:
            return []  # what it committed counts, whatever became of it since
        attempt.ended[event.worker] = event.reason
        if event.limit:
            attempt.limits[event.worker] = (event.limit, event.reason)
        limit = self._common_limit(attempt)
        if limit is not None:
            error = TaskLimitExceeded(task=str(task.name), limit=limit[0], detail=limit[1])
            return [Fail(error=error)]
        if self._policy.rule.winnable([b""] * len(attempt.committed), attempt.outstanding) and attempt.outstanding:
            return []
        return self._ask(attempt, event.now)

    def _common_limit(self, attempt: Attempt) -> tuple[str, str] | None:
        """Return (limit, detail) if so many replicas hit one limit that they would have won with equal results."""
        for limit, detail in attempt.limits.values():
            count = sum(other == limit for other, _ in attempt.limits.values())
            if self._policy.rule.verdict([b""] * count) is not None:
                return limit, detail
        return None

    def _ask(self, attempt: Attempt, now: float) -> list[Instruction]:
        self._ripe[attempt.bought.task] = attempt
        return self._ask_soon(now)

    def _ask_soon(self, now: float) -> list[Instruction]:
        """Ask after the ripe tasks, with those that are ripe by then; at once if there is no other to wait for."""
        if now < self._ask_from and len(self._ripe) < self.count(Step.RUNNING):
            return self._wake(now)
        self._ask_from = now + self._pace.pause_s
        ripe, self._ripe = self._ripe, {}
        return [AskVerdicts(tasks=tuple(ripe), heard=tuple(attempt.heard for attempt in ripe.values()))]

    # --- verdicts ---------------------------------------------------------------------------------------------------

    def _on_judged(self, event: Judged) -> list[Instruction]:
        verdicts = {verdict.task: verdict for verdict in event.verdicts}
        heard = dict(zip(event.asked, event.heard or (), strict=False))
        instructions: list[Instruction] = []
        for task_id in event.asked:
            instructions += self._judge(task_id, verdicts.get(task_id), heard.get(task_id), event.now)
        if event.heard is None:
            self._watch_soon(event.now)
            instructions += self._wake(event.now)
        return instructions

    def _judge(self, task_id: str, verdict: Verdict | None, heard: int | None, now: float) -> list[Instruction]:
        current = self._current(task_id, Step.RUNNING)
        if current is None:
            return []
        task, attempt = current
        if verdict is not None and verdict.state in {TaskState.WON, TaskState.SETTLED}:
            self._tasks.move(task, "won")
            self._ripe.pop(task_id, None)
            attempt.verdict = verdict
            # Last whoever failed us before: it may take its time to fail us again.
            attempt.untried = sorted((winner.worker for winner in verdict.winners), key=self._avoid.__contains__)
            # The committed replicas have freed their slots: what is still wanted may fit now.
            return [*self._fetch(task, attempt, now), *self._buy_soon(now)]
        why = self._why_lost(attempt, verdict, now, up_to_date=heard == attempt.heard)
        return self._lose(task, attempt, why, now) if why else []

    def _why_lost(self, attempt: Attempt, verdict: Verdict | None, now: float, *, up_to_date: bool) -> str:
        """Return why an attempt that has not won cannot win any more, or an empty string if it still may."""
        if verdict is None:
            return "discovery has forgotten it"
        if verdict.state is TaskState.REFUNDED or now >= attempt.deadline:
            return "the deadline passed"
        if not up_to_date:
            # An answer to an older question knows nothing of what was committed since. That nobody can commit any more
            # is believed the second time: workers tell why, and that may be on its way.
            doomed, attempt.doomed = attempt.doomed, verdict.outstanding == 0
            return NO_QUORUM if doomed else ""
        if not attempt.outstanding:
            return NO_QUORUM
        if not self._policy.rule.winnable([b""] * verdict.committed, attempt.outstanding):
            return "too few replicas left"
        return ""

    def _fetch(self, task: RunningTask, attempt: Attempt, now: float) -> list[Instruction]:
        if attempt.verdict is None or not attempt.untried:
            return self._lose(task, attempt, "no winner delivered", now)
        replica = attempt.replica(attempt.untried.pop(0))
        return [Fetch(name=task.name, replica=replica, verdict=attempt.verdict)]

    def _lose(self, task: RunningTask, attempt: Attempt, why: str, now: float) -> list[Instruction]:
        """Give this purchase of the task up and want it again, from others, as often as the policy allows."""
        task.history += attempt.history(task.purchases, why)
        workers = [replica.worker for replica in attempt.bought.replicas]
        silent = [worker for worker in workers if worker in attempt.ended or worker not in attempt.committed]
        # Where all committed and still none won, who lied is not known: others are to try.
        self._avoid |= dict.fromkeys(silent or workers)
        if attempt.verdict is None:
            self._refunds.append(attempt.deadline + self._policy.grace_s)
        if task.purchases >= self._policy.attempts:
            hint = DIFFERENT if why == NO_QUORUM else ""
            error: Ec262Error = TaskAbandoned(
                task=str(task.name), attempts=task.purchases, history=tuple(task.history), hint=hint
            )
            return [Fail(error=error)]
        self._tasks.move(task, "lost")
        self._ripe.pop(attempt.bought.task, None)
        task.attempt = None
        return self._buy_soon(now)

    # --- deliveries -------------------------------------------------------------------------------------------------

    def _on_delivered(self, event: Delivered) -> list[Instruction]:
        current = self._current(event.task, Step.FETCHING)
        if current is None:
            return []
        self._tasks.move(current[0], "delivered")
        if self.count(Step.DONE) < len(self._tasks):
            return []
        return [StartReduce()] if self._phase is Phase.MAP else [Finish()]

    def _on_undelivered(self, event: Undelivered) -> list[Instruction]:
        current = self._current(event.task, Step.FETCHING)
        if current is None:
            return []
        task, attempt = current
        attempt.ended[event.worker] = f"won, but did not deliver: {event.reason}"
        self._avoid[event.worker] = None
        return self._fetch(task, attempt, event.now)

    # --- time -------------------------------------------------------------------------------------------------------

    def _on_timer(self, event: TimerRang) -> list[Instruction]:
        now = event.now
        instructions: list[Instruction] = []
        if self._poll_at is not None and now >= self._poll_at:
            self._poll_at = None
            running = [task.attempt.bought.task for task in self._tasks.at(Step.RUNNING) if task.attempt]
            if running:
                instructions.append(AskVerdicts(tasks=tuple(running)))
        if self._ripe and now >= self._ask_from:
            instructions += self._ask_soon(now)
        if self._retry_at is not None and now >= self._retry_at:
            return [*instructions, *self._buy_wanted(now)]
        return [*instructions, *self._wake(now)]

    def _watch_soon(self, now: float) -> None:
        """Watch what runs then: when a watch has answered, and when there is more to watch."""
        if self._poll_at is None:
            self._poll_at = now + max(self._policy.poll_s, self._seldom_s)

    def _wake(self, now: float) -> list[Instruction]:
        times = [at for at in (self._retry_at, self._poll_at, self._ask_from if self._ripe else None) if at is not None]
        return [Wake(at=max(now, min(times)))] if times else []
