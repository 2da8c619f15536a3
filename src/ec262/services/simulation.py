"""A simulated foreman at the real discovery service: the real ``JobRun`` of one job after another, on a virtual clock.

What decides anything is the code that runs in production: the job's state machine, selection, commitments, verdicts,
standings, acceptances and the ledger. Simulated are machines, messages, which take no time, and time, which jumps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import assert_never

from ec262.domain.commands import (
    AcceptResults,
    AddReplicas,
    BuyDisputes,
    BuyTasks,
    Requirement,
    TaskState,
    Verdict,
    VerdictQuery,
)
from ec262.domain.job import Phase, TaskName
from ec262.domain.job_events import (
    Accept,
    Accepted,
    Added,
    AskVerdicts,
    Bought,
    Buy,
    Delivered,
    Diagnosed,
    Dispatch,
    Dispute,
    Event,
    Extend,
    Fail,
    Fetch,
    Finish,
    Instruction,
    Judged,
    PhasePlanned,
    ReplicaCommitted,
    ReplicaEnded,
    StartReduce,
    TimerRang,
    Wake,
)
from ec262.domain.job_policy import RunPolicy
from ec262.domain.job_run import JobRun
from ec262.domain.ports.clock import Entropy
from ec262.domain.simulation.population import TRUTH
from ec262.domain.simulation.statistics import Tally
from ec262.services.discovery import DiscoveryService
from ec262.services.discovery_admin import DiscoveryAdmin
from ec262.services.simulated_accomplices import Accomplices
from ec262.services.simulated_workers import PYTHON, SimulatedWorkers

DEADLINE_S = 1800.0
WATCH_S = 10.0
SWEEP = 5_000
"""Tasks after which discovery forgets what is over."""

ATTEMPTS = 1_000
"""A simulated job is never given up because of a task."""

OnProgress = Callable[[int], None]
"""Is told how many tasks are done."""


class SimulatedForeman:
    """One foreman and its workers. Use it once."""

    def __init__(
        self,
        *,
        discovery: DiscoveryService,
        workers: SimulatedWorkers,
        accomplices: Accomplices,
        operator: DiscoveryAdmin,
        entropy: Entropy,
        rule: str,
    ) -> None:
        self._discovery = discovery.foremen
        self._service = discovery
        self._workers = workers
        self._accomplices = accomplices
        self._operator = operator
        self._clock = workers.clock
        self._policy = RunPolicy(rule=rule, one_word=True, attempts=ATTEMPTS, patience_s=2 * DEADLINE_S)
        self._token = entropy.token(32).hex()
        discovery.accounts.open_with_grant(self._token, 1 << 40)
        self._run = JobRun(self._policy)
        self._first = 0
        self._kept: dict[TaskName, bytes] = {}
        self._purchases = self._executions = self._reopened = 0
        self._wake_at: float | None = None
        self._watch: tuple[float, AskVerdicts] | None = None
        self._over = True

    def run(self, tasks: int, *, job: int, on_progress: OnProgress = lambda _done: None) -> Tally:
        """Run jobs of ``job`` tasks, one after another, until all tasks are done; audit the books at the end."""
        errors = swept = 0
        self._workers.keep_leases()
        for anchor in self._workers.population.anchors():
            self._operator.add_anchor(self._workers.account_of(anchor))
        for first in range(0, tasks, job):
            count = min(job, tasks - first)
            errors += self._job(first, count)
            if first + count >= swept + SWEEP:
                swept = first + count
                self._service.sweep()
            on_progress(first + count)
        self._service.audit()
        population = self._workers.population
        return Tally(
            tasks=tasks,
            errors=errors,
            executions=self._executions,
            names=population.names - population.scenario.workers,
            woken=population.woken,
            reopened=self._reopened,
        )

    def _job(self, first: int, count: int) -> int:
        """Run a job; return how many of its results are wrong."""
        self._run, self._first, self._over = JobRun(self._policy), first, False
        self._kept, self._wake_at, self._watch = {}, None, None
        self._workers.keep_leases()
        self._accomplices.plot()
        names = tuple(TaskName(phase=Phase.MAP, index=index) for index in range(count))
        self._handle(PhasePlanned(now=self._clock(), tasks=names))
        while not self._over:
            self._handle(*self._next())
        return sum(int.from_bytes(digest, "big") != TRUTH for digest in self._kept.values())

    # --- time -------------------------------------------------------------------------------------------------------

    def _next(self) -> Sequence[Event]:
        """Let time pass until something happens; return what that is for the foreman."""
        watch_at = self._watch[0] if self._watch else None
        moments = [at for at in (self._workers.next_at, self._wake_at, watch_at) if at is not None]
        now = self._clock.now = max(self._clock.now, min(moments))
        if self._workers.next_at is not None and self._workers.next_at <= now:
            return self._committed(now)
        if self._wake_at is not None and self._wake_at <= now:
            self._wake_at = None
            return [TimerRang(now=now)]
        watch, self._watch = self._watch, None
        return [self._judged(watch[1], now)] if watch else []

    def _committed(self, now: float) -> Sequence[Event]:
        worker, task, answered = self._workers.finish_next()
        if answered:
            return [ReplicaCommitted(now=now, task=task, worker=worker)]
        return [ReplicaEnded(now=now, task=task, worker=worker, reason="the connection was lost")]

    # --- the job ----------------------------------------------------------------------------------------------------

    def _handle(self, *events: Event) -> None:
        """Give events to the job, carry out what it asks for, and so on until it waits."""
        queue = deque(events)
        while queue:
            for instruction in self._run.handle(queue.popleft()):
                answer = self._carry_out(instruction, self._clock())
                if answer is not None:
                    queue.append(answer)

    def _carry_out(self, instruction: Instruction, now: float) -> Event | None:
        """Do what an instruction says; return what the job hears of it at once."""
        match instruction:
            case Buy() | Extend() | Accept() | Dispute() | AskVerdicts(heard=(*_,)):
                return self._ask(instruction, now)
            case Fetch():
                self._kept[instruction.name] = instruction.verdict.digest or b""
                return Delivered(now=now, task=instruction.verdict.task)
            case StartReduce():
                return PhasePlanned(now=now, tasks=())
            case Dispatch():
                self._executions += 1
                self._workers.begin(instruction.replica.worker, instruction.task, self._first + instruction.name.index)
            case AskVerdicts():
                self._watch = now + WATCH_S, instruction
            case Wake():
                self._wake_at = instruction.at
            case Finish():
                self._over = True
            case Fail():
                raise instruction.error
            case _:
                assert_never(instruction)
        return None

    def _ask(self, instruction: Buy | Extend | Accept | Dispute | AskVerdicts, now: float) -> Event:
        match instruction:
            case Buy():
                return self._buy(instruction, now)
            case Extend():
                return self._extend(instruction, now)
            case Accept():
                return self._accepted(instruction, now)
            case Dispute():
                return self._disputed(instruction, now)
            case AskVerdicts():
                return self._judged(instruction, now)

    def _purchase(self) -> str:
        self._purchases += 1
        return f"purchase-{self._purchases:012}"

    def _buy(self, buy: Buy, now: float) -> Event:
        command = BuyTasks(
            purchase=self._purchase(),
            tasks=len(buy.tasks),
            rule=buy.rule,
            requirement=Requirement(python=PYTHON),
            deadline_s=DEADLINE_S,
            avoid=buy.avoid,
        )
        reply = self._discovery.buy(self._token, command)
        return Bought(now=now, asked=buy.tasks, tasks=reply.tasks, shortfall=reply.shortfall)

    def _extend(self, extend: Extend, now: float) -> Event:
        command = AddReplicas(
            purchase=self._purchase(), orders=extend.orders, deadline_s=DEADLINE_S, avoid=extend.avoid
        )
        reply = self._discovery.add_replicas(self._token, command)
        return Added(now=now, asked=extend.tasks, tasks=reply.tasks, shortfall=reply.shortfall)

    def _judged(self, question: AskVerdicts, now: float) -> Event:
        reply = self._discovery.verdicts(self._token, VerdictQuery(tasks=question.tasks))
        self._learn(reply.verdicts)
        return Judged(now=now, asked=question.tasks, heard=question.heard, verdicts=reply.verdicts)

    def _accepted(self, accept: Accept, now: float) -> Event:
        reply = self._discovery.accept(self._token, AcceptResults(tasks=accept.tasks))
        self._reopened += sum(verdict.state is TaskState.OPEN for verdict in reply.verdicts)
        self._learn(reply.verdicts)
        return Accepted(now=now, asked=accept.tasks, verdicts=reply.verdicts)

    def _disputed(self, dispute: Dispute, now: float) -> Event:
        """Buy a dispute. Answers have no content here that would show why they differ."""
        reply = self._discovery.dispute(self._token, BuyDisputes(tasks=(dispute.task,)))
        return Diagnosed(now=now, task=dispute.task, verdict=next(iter(reply.verdicts), None), diagnosis=None)

    def _learn(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            if verdict.state in {TaskState.WON, TaskState.SETTLED} and verdict.digest is not None:
                self._workers.won(verdict.task, int.from_bytes(verdict.digest, "big"))
