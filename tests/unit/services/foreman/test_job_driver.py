"""The driver of a run: instructions become effects, and what these come to become events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from ec262.domain.errors import Ec262Error, LimitReached, PurchaseTooExpensive, TaskAbandoned
from ec262.domain.foreman.data.key_check import Clash
from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.protocol.foreman_calls import AcceptResults, AddReplicas, BuyTasks, Purchase, VerdictQuery, Verdicts
from ec262.domain.verification.rules import Majority
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import Phase, TaskName
from ec262.services.foreman.job_driver import JobDriver, Operation, Terms, at_once
from tests.discovery_town import REQUIREMENT
from tests.unit.domain.foreman.test_job_run import POLICY, bought, verdict

NAME = TaskName(phase=Phase.MAP, index=0)
TERMS = Terms(requirement=REQUIREMENT, deadline_s=60.0, watch_s=7.0)


@attrs.define
class RecordedEffects:
    """Notes what is begun; ``shop`` answers purchases."""

    shop: Callable[[BuyTasks | AddReplicas], Purchase]
    begun: list[Operation] = attrs.Factory(list)
    watches: list[Operation] = attrs.Factory(list)
    told: list[object] = attrs.Factory(list)
    queries: list[VerdictQuery] = attrs.Factory(list)

    def now(self) -> float:
        return 5.0

    def new_purchase(self) -> str:
        return f"purchase-{len(self.told)}"

    async def buy(self, command: BuyTasks) -> Purchase:
        self.told.append(command)
        return self.shop(command)

    async def add_replicas(self, command: AddReplicas) -> Purchase:
        self.told.append(command)
        return self.shop(command)

    async def verdicts(self, query: VerdictQuery) -> Verdicts:
        self.queries.append(query)
        return Verdicts(verdicts=(verdict("task-0001", TaskState.OPEN),))

    async def accept(self, command: AcceptResults) -> Verdicts:
        raise NotImplementedError

    async def clash(self, doubted: Sequence[TaskName]) -> tuple[Clash | None, tuple[TaskName, ...]]:
        return None, ()

    async def start_reduce(self) -> tuple[TaskName, ...]:
        return ()

    def begin(self, operation: Operation) -> None:
        self.begun.append(operation)

    def watch(self, operation: Operation) -> None:
        self.watches.append(operation)

    def wake(self, at: float) -> None:
        self.told.append(at)

    def dispatch(self, dispatch: ev.Dispatch) -> None:
        self.told.append(dispatch)

    def fetch(self, fetch: ev.Fetch) -> None:
        self.told.append(fetch)

    def dispute(self, dispute: ev.Dispute) -> None:
        self.told.append(dispute)


def sold(command: BuyTasks | AddReplicas) -> Purchase:
    more = bought("task-0001", ("worker-d",) if isinstance(command, AddReplicas) else ("worker-a", "worker-b"))
    return Purchase(purchase=command.purchase, tasks=(more,), price=2, credits=10, shortfall="")


def driven(effects: RecordedEffects, policy: RunPolicy = POLICY, tasks: int = 1) -> JobDriver:
    driver = JobDriver(JobRun(policy), effects, TERMS)
    names = tuple(TaskName(phase=Phase.MAP, index=index) for index in range(tasks))
    driver.handle(ev.PhasePlanned(now=0, tasks=names))
    return driver


def refused(error: Exception) -> Callable[[Any], Purchase]:
    def shop(_command: object) -> Purchase:
        raise error

    return shop


POOR = PurchaseTooExpensive(have=1, need=6)
LIMIT = LimitReached("too many tasks")


@pytest.mark.parametrize(
    ("error", "event"),
    [
        pytest.param(POOR, ev.TooPoor(now=5.0, asked=(NAME,), have=1, need=6), id="credits"),
        pytest.param(LIMIT, ev.LimitHit(now=5.0, asked=(NAME,), error=LIMIT), id="limit"),
    ],
)
def test_a_refused_purchase_is_an_event(error: Ec262Error, event: ev.Event) -> None:
    effects = RecordedEffects(refused(error))
    driven(effects)
    assert at_once(effects.begun.pop()) == event


@pytest.mark.parametrize(
    ("error", "kind"), [pytest.param(POOR, ev.TooPoor, id="credits"), pytest.param(LIMIT, ev.LimitHit, id="limit")]
)
def test_refused_workers_are_an_event(error: Ec262Error, kind: type[ev.Event]) -> None:
    effects = RecordedEffects(sold)
    driver = driven(effects, RunPolicy(rule="quorum:2"))
    driver.handle(at_once(effects.begun.pop()))
    for worker in ("worker-a", "worker-b"):
        driver.handle(ev.ReplicaCommitted(now=1, task="task-0001", worker=worker))
    effects.shop = refused(error)
    differ = attrs.evolve(verdict("task-0001", TaskState.OPEN), outstanding=0, wanted=1)
    driver.handle(ev.Judged(now=2, asked=("task-0001",), heard=(2,), verdicts=(differ,)))
    answer = at_once(effects.begun.pop())
    assert isinstance(answer, kind)
    assert isinstance(effects.told[-1], AddReplicas)
    assert effects.told[-1].deadline_s == TERMS.deadline_s


def test_any_other_error_of_a_purchase_is_whoever_runs_it_to_deal_with() -> None:
    effects = RecordedEffects(refused(RuntimeError("a defect")))
    driven(effects)
    with pytest.raises(RuntimeError, match="a defect"):
        at_once(effects.begun.pop())


def test_a_purchase_is_for_what_the_job_needs() -> None:
    effects = RecordedEffects(sold)
    driver = driven(effects)
    driver.handle(at_once(effects.begun.pop()))
    command, *rest = effects.told
    assert command == BuyTasks(
        purchase="purchase-0", tasks=1, rule="majority:3:2", requirement=REQUIREMENT, deadline_s=60.0
    )
    assert [each.replica.worker for each in rest if isinstance(each, ev.Dispatch)] == ["worker-a", "worker-b"]


def test_only_the_answer_to_a_watch_is_held_back() -> None:
    effects = RecordedEffects(sold)
    driver = driven(effects)
    driver.handle(at_once(effects.begun.pop()))
    driver.handle(ev.TimerRang(now=100))
    assert at_once(effects.watches.pop()).heard is None  # type: ignore[union-attr] # it is Judged
    driver.handle(ev.ReplicaCommitted(now=100, task="task-0001", worker="worker-a"))
    driver.handle(ev.ReplicaCommitted(now=100, task="task-0001", worker="worker-b"))
    assert at_once(effects.begun.pop()).heard == (2,)  # type: ignore[union-attr] # it is Judged
    assert [query.wait_s for query in effects.queries] == [TERMS.watch_s, 0.0]


def test_a_run_without_tasks_finishes() -> None:
    assert driven(RecordedEffects(sold), tasks=0).finished
    assert not driven(RecordedEffects(sold)).finished


def test_the_error_that_a_run_fails_with_is_raised() -> None:
    effects = RecordedEffects(sold)
    driver = driven(effects, RunPolicy(rule=Majority(replicas=2), attempts=1))
    driver.handle(at_once(effects.begun.pop()))
    driver.handle(ev.ReplicaEnded(now=1, task="task-0001", worker="worker-a", reason="lost"))
    driver.handle(ev.ReplicaEnded(now=1, task="task-0001", worker="worker-b", reason="lost"))
    with pytest.raises(TaskAbandoned):
        driver.handle(at_once(effects.begun.pop()))
    assert not driver.finished


def test_an_operation_that_waits_cannot_be_done_at_once() -> None:
    async def waits() -> ev.Event:
        await asyncio.sleep(0)
        raise NotImplementedError

    with pytest.raises(AssertionError, match="waits"):
        at_once(waits)
