"""A foreman's machine and a real discovery service, with workers that do as they are told: on a clock of its own."""

from __future__ import annotations

import enum
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import attrs

from ec262.domain import job_events as ev
from ec262.domain.commands import MAX_BATCH, AcceptResults, AddReplicas, BuyDisputes, VerdictQuery
from ec262.domain.digests import adjudicated_digest
from ec262.domain.errors import Ec262Error, LimitReached, PurchaseTooExpensive, TaskLimitExceeded
from ec262.domain.job import Phase, TaskName
from ec262.domain.job_policy import RunPolicy
from ec262.domain.job_run import JobRun
from tests.discovery_town import FOREMAN, Town, digest, order

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
    calls: Counter[str] = attrs.Factory(Counter)
    results: dict[TaskName, bytes] = attrs.Factory(dict)
    error: Ec262Error | None = None
    run: JobRun = attrs.field(init=False)
    _chance: random.Random = attrs.field(init=False)
    _agenda: list[tuple[float, int, Callable[[], None]]] = attrs.field(init=False, factory=list)
    _number: itertools.count[int] = attrs.field(init=False, factory=itertools.count)
    _timer: int = attrs.field(init=False, default=0)
    _over: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.run = JobRun(self.policy)
        self._chance = random.Random(self.seed)

    @property
    def now(self) -> float:
        return self.town.clock()

    def to_the_end(self) -> JobSimulation:
        """Run it; it must end."""
        self._plan(Phase.MAP)
        for _ in range(MAX_EVENTS):
            if self._over:
                return self
            at, _, act = heapq.heappop(self._agenda)
            self.town.clock.advance(max(0.0, at - self.now))
            act()
        raise AssertionError(f"no end: {self.run.history()}")

    def _plan(self, phase: Phase) -> None:
        names = tuple(TaskName(phase=phase, index=index) for index in range(self.tasks))
        self._tell(ev.PhasePlanned(now=self.now, tasks=names))

    def _later(self, act: Callable[[], None], *, pause_s: float = TRIP_S) -> None:
        heapq.heappush(self._agenda, (self.now + pause_s, next(self._number), act))

    def _tell(self, event: ev.Event) -> None:
        for instruction in self.run.handle(event):
            self.calls[type(instruction).__name__] += 1
            self._carry_out(instruction)

    def _carry_out(self, instruction: ev.Instruction) -> None:
        trip = TRIP_S * self._chance.uniform(0.1, 20)
        match instruction:
            case ev.Buy():
                self._later(partial(self._buy, instruction), pause_s=trip)
            case ev.Extend():
                self._later(partial(self._extend, instruction), pause_s=trip)
            case ev.AskVerdicts():
                self._later(partial(self._ask, instruction), pause_s=trip)
            case ev.Accept():
                self._later(partial(self._accept, instruction), pause_s=trip)
            case ev.Dispute():
                self._later(partial(self._dispute, instruction), pause_s=trip)
            case ev.Fetch():
                self._later(partial(self._fetch, instruction), pause_s=trip)
            case ev.Dispatch():
                self._later(partial(self._work, instruction), pause_s=self._chance.uniform(0.1, 5))
            case ev.Wake():
                self._timer += 1
                self._later(partial(self._ring, self._timer), pause_s=max(0.0, instruction.at - self.now))
            case ev.StartReduce():
                self._later(partial(self._plan, Phase.REDUCE))
            case ev.Finish():
                self._over = True
            case ev.Fail():
                self.error, self._over = instruction.error, True

    def _ring(self, timer: int) -> None:
        if timer == self._timer:
            self._tell(ev.TimerRang(now=self.now))

    def _later_tell(self, event: ev.Event) -> None:
        self._later(partial(self._tell, event), pause_s=TRIP_S * self._chance.uniform(0.1, 20))

    def _buy(self, buy: ev.Buy) -> None:
        command = order(
            f"purchase-{next(self._number)}",
            tasks=len(buy.tasks),
            rule=buy.rule,
            deadline_s=self.deadline_s,
            avoid=buy.avoid,
        )
        try:
            reply = self.town.buy(command)
        except PurchaseTooExpensive as error:
            self._later_tell(ev.TooPoor(now=self.now, asked=buy.tasks, have=error.have, need=error.need))
            return
        except LimitReached as error:
            self._later_tell(ev.LimitHit(now=self.now, asked=buy.tasks, error=error))
            return
        self._tell(ev.Bought(now=self.now, asked=buy.tasks, tasks=reply.tasks, shortfall=reply.shortfall))

    def _extend(self, extend: ev.Extend) -> None:
        command = AddReplicas(
            purchase=f"purchase-{next(self._number)}",
            orders=extend.orders,
            deadline_s=self.deadline_s,
            avoid=extend.avoid,
        )
        try:
            reply = self.town.add_replicas(command)
        except PurchaseTooExpensive as error:
            self._later_tell(ev.TooPoor(now=self.now, asked=extend.tasks, have=error.have, need=error.need))
            return
        except LimitReached as error:
            self._later_tell(ev.LimitHit(now=self.now, asked=extend.tasks, error=error))
            return
        self._tell(ev.Added(now=self.now, asked=extend.tasks, tasks=reply.tasks, shortfall=reply.shortfall))

    def _ask(self, ask: ev.AskVerdicts) -> None:
        self.town.service.sweep()
        asked = ask.tasks[:MAX_BATCH]
        reply = self.town.service.foremen.verdicts(FOREMAN, VerdictQuery(tasks=asked))
        self._later_tell(ev.Judged(now=self.now, asked=asked, heard=ask.heard, verdicts=reply.verdicts))

    def _accept(self, accept: ev.Accept) -> None:
        reply = self.town.service.foremen.accept(FOREMAN, AcceptResults(tasks=accept.tasks))
        self._later_tell(ev.Accepted(now=self.now, asked=accept.tasks, verdicts=reply.verdicts))

    def _dispute(self, dispute: ev.Dispute) -> None:
        reply = self.town.service.foremen.dispute(FOREMAN, BuyDisputes(tasks=(dispute.task,)))
        verdict = next(iter(reply.verdicts), None)
        self._later_tell(ev.Diagnosed(now=self.now, task=dispute.task, verdict=verdict, diagnosis=None))

    def _fetch(self, fetch: ev.Fetch) -> None:
        assert fetch.verdict.digest is not None
        task, worker = fetch.verdict.task, fetch.replica.worker
        if self.ways(worker, fetch.name) is Way.STINGINESS:
            self._tell(ev.Undelivered(now=self.now, task=task, worker=worker, reason="no"))
            return
        if fetch.verdict.digest == adjudicated_digest(said(Way.LIMIT, fetch.name, worker), stopped=True):
            limit = TaskLimitExceeded(task=str(fetch.name), limit="cpu", detail="5 s")
            self._tell(ev.CodeFailed(now=self.now, task=task, error=limit))
            return
        self.results[fetch.name] = fetch.verdict.digest
        self._tell(ev.Delivered(now=self.now, task=task))

    def _work(self, work: ev.Dispatch) -> None:
        worker, way = work.replica.worker, self.ways(work.replica.worker, work.name)
        token = self.town.tokens[worker]
        ended = partial(ev.ReplicaEnded, now=self.now, task=work.task, worker=worker)
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
                        self._later_tell(ev.ReplicaCommitted(now=self.now, task=work.task, worker=worker))
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
