"""A foreman's machine and a real discovery service, with workers that do as they are told: on a clock of its own.

Messages take some time, by chance: answers overtake each other.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from functools import partial

import attrs

from ec262.domain.errors import Ec262Error, TaskLimitExceeded
from ec262.domain.foreman.data.key_check import Clash
from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.protocol.foreman_calls import (
    AcceptResults,
    AddReplicas,
    BuyDisputes,
    BuyTasks,
    Purchase,
    VerdictQuery,
    Verdicts,
)
from ec262.domain.work.digests import adjudicated_digest
from ec262.domain.work.work import Phase, TaskName
from ec262.services.foreman.job_driver import JobDriver, Operation, Terms, at_once
from tests.discovery_town import FOREMAN, REQUIREMENT, Town, digest

TRIP_S = 0.01
MAX_EVENTS = 20_000


class Way(enum.Enum):
    """What a worker makes of a task."""

    HONEST = "commits what is right"
    LIE = "commits what all liars commit"
    NONSENSE = "commits what nobody else does"
    REFUSAL = "says that it will not, to discovery, too"
    SILENCE = "is lost"
    SHYNESS = "commits and tells the foreman nothing"
    STINGINESS = "commits and does not deliver"
    LIMIT = "commits that a limit was hit"


@attrs.define
class JobSimulation:
    """Runs a job of ``tasks`` in each phase. ``ways`` says what a worker, by account, makes of a task by name."""

    town: Town
    policy: RunPolicy
    tasks: int
    ways: Callable[[str, TaskName], Way]
    seed: int = 0
    deadline_s: float = 60.0
    results: dict[TaskName, bytes] = attrs.Factory(dict)
    error: Ec262Error | None = None
    run: JobRun = attrs.field(init=False)
    _chance: random.Random = attrs.field(init=False)
    _agenda: list[tuple[float, int, Callable[[], None]]] = attrs.field(init=False, factory=list)
    _number: itertools.count[int] = attrs.field(init=False, factory=itertools.count)
    _timer: int = attrs.field(init=False, default=0)
    _driver: JobDriver = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.run = JobRun(self.policy)
        self._driver = JobDriver(self.run, self, Terms(requirement=REQUIREMENT, deadline_s=self.deadline_s))
        self._chance = random.Random(self.seed)

    def to_the_end(self) -> JobSimulation:
        """Run it; it must end."""
        self._tell(ev.PhasePlanned(now=self.now(), tasks=self._names(Phase.MAP)))
        for _ in range(MAX_EVENTS):
            if self._driver.finished or self.error:
                return self
            at, _, act = heapq.heappop(self._agenda)
            self.town.clock.advance(max(0.0, at - self.now()))
            act()
        raise AssertionError(f"no end: {self.run.history()}")

    def _names(self, phase: Phase) -> tuple[TaskName, ...]:
        return tuple(TaskName(phase=phase, index=index) for index in range(self.tasks))

    def _later(self, act: Callable[[], None], *, pause_s: float = TRIP_S) -> None:
        heapq.heappush(self._agenda, (self.now() + pause_s, next(self._number), act))

    def _tell(self, event: ev.Event) -> None:
        try:
            self._driver.handle(event)
        except Ec262Error as error:
            self.error = error

    def _later_tell(self, event: ev.Event) -> None:
        self._later(partial(self._tell, event), pause_s=self._trip_s())

    def _trip_s(self) -> float:
        return TRIP_S * self._chance.uniform(0.1, 20)

    def now(self) -> float:
        return self.town.clock()

    def begin(self, operation: Operation) -> None:
        """Ask discovery; question and answer take their time."""
        self._later(lambda: self._later_tell(at_once(operation)), pause_s=self._trip_s())

    def watch(self, operation: Operation) -> None:
        self.begin(operation)

    def wake(self, at: float) -> None:
        self._timer += 1
        self._later(partial(self._ring, self._timer), pause_s=max(0.0, at - self.now()))

    def _ring(self, timer: int) -> None:
        if timer == self._timer:
            self._tell(ev.TimerRang(now=self.now()))

    def dispatch(self, dispatch: ev.Dispatch) -> None:
        self._later(partial(self._work, dispatch), pause_s=self._chance.uniform(0.1, 5))

    def fetch(self, fetch: ev.Fetch) -> None:
        self._later(partial(self._fetch, fetch), pause_s=self._trip_s())

    def dispute(self, dispute: ev.Dispute) -> None:
        self._later(partial(self._dispute, dispute), pause_s=self._trip_s())

    def new_purchase(self) -> str:
        return f"purchase-{next(self._number)}"

    async def buy(self, command: BuyTasks) -> Purchase:
        return self.town.buy(command)

    async def add_replicas(self, command: AddReplicas) -> Purchase:
        return self.town.add_replicas(command)

    async def verdicts(self, query: VerdictQuery) -> Verdicts:
        self.town.service.sweep()
        return self.town.service.foremen.verdicts(FOREMAN, query)

    async def accept(self, command: AcceptResults) -> Verdicts:
        return self.town.service.foremen.accept(FOREMAN, command)

    async def clash(self, doubted: Sequence[TaskName]) -> tuple[Clash | None, tuple[TaskName, ...]]:
        return None, ()

    async def start_reduce(self) -> tuple[TaskName, ...]:
        return self._names(Phase.REDUCE)

    def _dispute(self, dispute: ev.Dispute) -> None:
        reply = self.town.service.foremen.dispute(FOREMAN, BuyDisputes(tasks=(dispute.task,)))
        verdict = next(iter(reply.verdicts), None)
        self._later_tell(ev.Diagnosed(now=self.now(), task=dispute.task, verdict=verdict, diagnosis=None))

    def _fetch(self, fetch: ev.Fetch) -> None:
        assert fetch.verdict.digest is not None
        task, worker = fetch.verdict.task, fetch.replica.worker
        if self.ways(worker, fetch.name) is Way.STINGINESS:
            self._tell(ev.Undelivered(now=self.now(), task=task, worker=worker, reason="no"))
            return
        if fetch.verdict.digest == adjudicated_digest(said(Way.LIMIT, fetch.name, worker), stopped=True):
            limit = TaskLimitExceeded(task=str(fetch.name), limit="cpu", detail="5 s")
            self._tell(ev.CodeFailed(now=self.now(), task=task, error=limit))
            return
        self.results[fetch.name] = fetch.verdict.digest
        self._tell(ev.ResultKept(now=self.now(), task=task))

    def _work(self, work: ev.Dispatch) -> None:
        worker, way = work.replica.worker, self.ways(work.replica.worker, work.name)
        token = self.town.tokens[worker]
        ended = partial(ev.ReplicaEnded, now=self.now(), task=work.task, worker=worker)
        try:
            match way:
                case Way.SILENCE:
                    self._later_tell(ended(reason="lost"))
                case Way.REFUSAL:
                    self.town.give_up(token, work.task)
                    self._later_tell(ended(reason="no"))
                case _:
                    self.town.commit_as(token, work.task, said(way, work.name, worker), stopped=way is Way.LIMIT)
                    if way is not Way.SHYNESS:
                        self._later_tell(ev.ReplicaCommitted(now=self.now(), task=work.task, worker=worker))
        except Ec262Error as error:
            self._later_tell(ended(reason=str(error)))


def said(way: Way, name: TaskName, worker: str) -> bytes:
    """What is committed to a task."""
    texts = {Way.LIE: f"lie about {name}", Way.NONSENSE: f"{worker} on {name}", Way.LIMIT: f"a limit in {name}"}
    return digest(texts.get(way, right(name)))


def right(name: TaskName) -> str:
    """A task's result."""
    return f"result of {name}"


def is_right(results: dict[TaskName, bytes], names: Sequence[TaskName]) -> bool:
    """Tell whether these tasks have what is right."""
    return all(results[name] == digest(right(name)) for name in names)
