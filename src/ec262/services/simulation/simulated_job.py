"""One job at the real discovery service, on a virtual clock: the ``Effects`` of its driver.

Messages take no time, so every call is answered at once. Workers do take time, and the clock jumps from one event to
the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from ec262.domain.foreman.data.key_check import Clash
from ec262.domain.foreman.run.events import (
    Diagnosed,
    Dispatch,
    Dispute,
    Event,
    Fetch,
    PhasePlanned,
    ReplicaCommitted,
    ReplicaEnded,
    ResultKept,
    TimerRang,
)
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.protocol.foreman_calls import (
    AcceptResults,
    AddReplicas,
    BuyDisputes,
    BuyTasks,
    Purchase,
    Verdict,
    VerdictQuery,
    Verdicts,
)
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.simulation.population import TRUTH
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import Phase, TaskName
from ec262.services.discovery.for_foremen import ForemanDesk
from ec262.services.foreman.job_driver import JobDriver, Operation, Terms, at_once
from ec262.services.simulation.simulated_workers import PYTHON, SimulatedWorkers

DEADLINE_S = 1800.0
WATCH_S = 10.0


class SimulatedJob:
    """A job of ``count`` tasks. ``first`` is the number of its first task among those of all jobs. Use it once."""

    def __init__(
        self,
        first: int,
        count: int,
        *,
        policy: RunPolicy,
        discovery: ForemanDesk,
        token: str,
        workers: SimulatedWorkers,
        purchases: Iterator[int],
    ) -> None:
        """``purchases`` numbers the purchases of the account."""
        self._first = first
        self._count = count
        self._discovery = discovery
        self._token = token
        self._workers = workers
        self._clock = workers.clock
        self._numbers = purchases
        terms = Terms(requirement=Requirement(python=PYTHON), deadline_s=DEADLINE_S)
        self._driver = JobDriver(JobRun(policy), self, terms)
        self._events: deque[Event] = deque()
        self._kept: dict[TaskName, bytes] = {}
        self._wake_at: float | None = None
        self._watch: tuple[float, Operation] | None = None
        self.executions = 0
        """How often a worker was sent a task."""
        self.reopened = 0
        """How many provisional wins were withdrawn."""

    def run(self) -> int:
        """Run the job to its end; return how many of its results are wrong."""
        names = tuple(TaskName(phase=Phase.MAP, index=index) for index in range(self._count))
        self._events.append(PhasePlanned(now=self.now(), tasks=names))
        while not self._driver.finished:
            if self._events:
                self._driver.handle(self._events.popleft())
            else:
                self._events.extend(self._next())
        return sum(int.from_bytes(digest, "big") != TRUTH for digest in self._kept.values())

    def _next(self) -> Sequence[Event]:
        """Advance time until something happens; return the foreman's events."""
        watch_at = self._watch[0] if self._watch else None
        moments = [at for at in (self._workers.next_at, self._wake_at, watch_at) if at is not None]
        now = self._clock.now = max(self._clock.now, min(moments))
        if self._workers.next_at is not None and self._workers.next_at <= now:
            return [self._committed(now)]
        if self._wake_at is not None and self._wake_at <= now:
            self._wake_at = None
            return [TimerRang(now=now)]
        watch, self._watch = self._watch, None
        return [at_once(watch[1])] if watch else []

    def _committed(self, now: float) -> Event:
        worker, task, answered = self._workers.finish_next()
        if answered:
            return ReplicaCommitted(now=now, task=task, worker=worker)
        return ReplicaEnded(now=now, task=task, worker=worker, reason="the connection was lost")

    # --- effects: what is begun -------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the virtual time."""
        return self._clock()

    def begin(self, operation: Operation) -> None:
        """Run the operation at once."""
        self._events.append(at_once(operation))

    def watch(self, operation: Operation) -> None:
        """Check for news after a while."""
        self._watch = self.now() + WATCH_S, operation

    def wake(self, at: float) -> None:
        """Set the timer."""
        self._wake_at = at

    def dispatch(self, dispatch: Dispatch) -> None:
        """Let a worker begin a task."""
        self.executions += 1
        self._workers.begin(dispatch.replica.worker, dispatch.task, self._first + dispatch.name.index)

    def fetch(self, fetch: Fetch) -> None:
        """Keep the winning digest: simulated workers always deliver."""
        self._kept[fetch.name] = fetch.verdict.digest or b""
        self._events.append(ResultKept(now=self.now(), task=fetch.verdict.task))

    def dispute(self, dispute: Dispute) -> None:
        """Pay those who committed; their results have nothing in common."""
        reply = self._discovery.dispute(self._token, BuyDisputes(tasks=(dispute.task,)))
        verdict = next(iter(reply.verdicts), None)
        self._events.append(Diagnosed(now=self.now(), task=dispute.task, verdict=verdict, diagnosis=None))

    # --- effects: what discovery is asked ---------------------------------------------------------------------------

    def new_purchase(self) -> str:
        """Return the next id."""
        return f"purchase-{next(self._numbers):012}"

    async def buy(self, command: BuyTasks) -> Purchase:
        """Buy tasks."""
        return self._discovery.buy(self._token, command)

    async def add_replicas(self, command: AddReplicas) -> Purchase:
        """Add workers to tasks."""
        return self._discovery.add_replicas(self._token, command)

    async def verdicts(self, query: VerdictQuery) -> Verdicts:
        """Ask for verdicts."""
        return self._learnt(self._discovery.verdicts(self._token, query))

    async def accept(self, command: AcceptResults) -> Verdicts:
        """Accept provisional wins."""
        reply = self._discovery.accept(self._token, command)
        self.reopened += sum(verdict.state is TaskState.OPEN for verdict in reply.verdicts)
        return self._learnt(reply)

    def _learnt(self, reply: Verdicts) -> Verdicts:
        for verdict in reply.verdicts:
            self._tell_workers(verdict)
        return reply

    def _tell_workers(self, verdict: Verdict) -> None:
        if verdict.state in {TaskState.WON, TaskState.SETTLED} and verdict.digest is not None:
            self._workers.won(verdict.task, int.from_bytes(verdict.digest, "big"))

    async def clash(self, doubted: Sequence[TaskName]) -> tuple[Clash | None, tuple[TaskName, ...]]:  # noqa: ARG002 - the port's signature
        """Report no clash: results here have no keys."""
        return None, ()

    async def start_reduce(self) -> tuple[TaskName, ...]:
        """Return no tasks: one phase is enough to find out who lies."""
        return ()
