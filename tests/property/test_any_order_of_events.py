"""Whatever discovery and workers say, and however late or often: a job's machine raises nothing of its own.

Each instruction is answered once, as the shell does, at any later time and with anything that may be in such an answer.
News of workers and of verdicts also comes again, long after its time.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ec262.domain.errors import KeyCollision, LimitReached, TaskLimitExceeded, UserCodeFailed
from ec262.domain.foreman.job.diagnosis import Diagnosis, Suspect
from ec262.domain.foreman.job.difference import Difference
from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.foreman_calls import BoughtReplica, BoughtTask, DisputedResult, Verdict, Winner
from ec262.domain.verification.rules import parse_rule
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import Phase, TaskName

WORKERS = [f"worker-{number}" for number in range(9)]
EVENTS = 300
ADDRESS = WorkerAddress(host="127.0.0.1", port=1, fingerprint="0" * 64)
FAILURES = (
    UserCodeFailed(function="mapper", exception="ValueError", row=None, frames=(), report=""),
    TaskLimitExceeded(task="map task 1", limit="memory", detail="64 MiB"),
)


@attrs.define
class Chaos:
    """The world of one machine."""

    chance: random.Random
    rule: str
    now: float = 0.0
    waiting: list[ev.Instruction] = attrs.Factory(list)
    news: list[ev.Event] = attrs.Factory(list)
    bought: dict[str, BoughtTask] = attrs.Factory(dict)
    over: bool = False
    _number: Iterator[int] = attrs.Factory(itertools.count)
    _run: JobRun = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._run = JobRun(RunPolicy(rule=parse_rule(self.rule), one_word=True, attempts=3, patience_s=20.0))

    def play(self) -> None:
        self.handle(self.planned(Phase.MAP))
        for _ in range(EVENTS):
            if self.over:
                return
            self.now += self.chance.expovariate(1.0)
            if self.news and self.chance.random() < 0.3:
                self.handle(attrs.evolve(self.chance.choice(self.news), now=self.now))
            elif self.waiting:
                instruction = self.waiting.pop(self.chance.randrange(len(self.waiting)))
                for event in self.answers(instruction):
                    self.handle(event)
            else:
                self.handle(ev.TimerRang(now=self.now))

    def handle(self, event: ev.Event) -> None:
        if isinstance(event, ev.ReplicaCommitted | ev.ReplicaEnded | ev.Judged | ev.ResultKept | ev.Undelivered):
            self.news.append(event)
        for instruction in self._run.handle(event):
            if isinstance(instruction, ev.Finish | ev.Fail):
                self.over = True
            else:
                self.waiting.append(instruction)

    # --- answers --------------------------------------------------------------------------------------------------

    def answers(self, instruction: ev.Instruction) -> Iterable[ev.Event]:  # noqa: C901, PLR0912 - a case for each
        match instruction:
            case ev.Buy(tasks=tasks) | ev.Extend(tasks=tasks) if self.chance.random() < 0.2:
                if self.chance.random() < 0.5:
                    yield ev.TooPoor(now=self.now, asked=tasks, have=1, need=3)
                else:
                    yield ev.LimitHit(now=self.now, asked=tasks, error=LimitReached("too many open tasks"))
            case ev.Buy(tasks=tasks):
                some = tuple(self.task() for _ in tasks[: self.chance.randint(0, len(tasks))])
                yield ev.Bought(now=self.now, asked=tasks, tasks=some, shortfall="nobody there")
            case ev.Extend(tasks=tasks, orders=orders):
                some = tuple(self.extended(order.task) for order in orders if self.chance.random() < 0.7)
                yield ev.Added(now=self.now, asked=tasks, tasks=some, shortfall="nobody there")
            case ev.Dispatch(task=task, replica=replica):
                yield self.replica_news(task, replica.worker)
            case ev.AskVerdicts(tasks=tasks, heard=heard):
                verdicts = tuple(self.verdict(task) for task in tasks if self.chance.random() < 0.95)
                yield ev.Judged(now=self.now, asked=tasks, heard=heard, verdicts=verdicts)
            case ev.Accept(tasks=tasks):
                verdicts = tuple(self.verdict(task) for task in tasks if self.chance.random() < 0.95)
                yield ev.Accepted(now=self.now, asked=tasks, verdicts=verdicts)
            case ev.Fetch(verdict=verdict, replica=replica):
                yield self.delivery(verdict.task, replica.worker)
            case ev.Dispute(task=task):
                yield ev.Diagnosed(
                    now=self.now,
                    task=task,
                    verdict=self.verdict(task) if self.chance.random() < 0.8 else None,
                    diagnosis=self.diagnosis(),
                )
            case ev.Wake():
                yield ev.TimerRang(now=self.now)
            case ev.CheckPhase(doubted=doubted):
                yield self.checked(doubted)
            case ev.StartReduce():
                yield self.planned(Phase.REDUCE)

    def checked(self, doubted: tuple[TaskName, ...]) -> ev.PhaseChecked:
        if self.chance.random() < 0.5:
            return ev.PhaseChecked(now=self.now)
        asked = self.chance.sample(doubted, self.chance.randint(self.chance.random() < 0.9, len(doubted)))
        return ev.PhaseChecked(now=self.now, error=KeyCollision(1, 1.0), tasks=tuple(asked))

    def planned(self, phase: Phase) -> ev.PhasePlanned:
        names = tuple(TaskName(phase=phase, index=index) for index in range(self.chance.randint(phase is Phase.MAP, 4)))
        return ev.PhasePlanned(now=self.now, tasks=names)

    def task(self) -> BoughtTask:
        task = BoughtTask(
            task=f"task-{next(self._number):06}",
            deadline_s=self.chance.choice([5.0, 60.0]),
            replicas=self.replicas(self.chance.randint(1, 4)),
        )
        self.bought[task.task] = task
        return task

    def extended(self, task_id: str) -> BoughtTask:
        before = self.bought[task_id]
        more = attrs.evolve(before, replicas=self.replicas(1))
        self.bought[task_id] = attrs.evolve(before, replicas=before.replicas + more.replicas)
        return more

    def replicas(self, count: int) -> tuple[BoughtReplica, ...]:
        return tuple(
            BoughtReplica(worker=worker, address=ADDRESS, secret=b"s" * 32)
            for worker in self.chance.sample(WORKERS, count)
        )

    def replica_news(self, task: str, worker: str) -> ev.Event:
        if self.chance.random() < 0.7:
            return ev.ReplicaCommitted(now=self.now, task=task, worker=worker)
        return ev.ReplicaEnded(now=self.now, task=task, worker=worker, reason="no")

    def verdict(self, task: str) -> Verdict:
        state = self.chance.choice([TaskState.OPEN, TaskState.WON, TaskState.WON, *TaskState])
        workers = [replica.worker for replica in self.bought[task].replicas]
        won = state in {TaskState.WON, TaskState.SETTLED, TaskState.PROVISIONAL}
        # Some of its workers, and once in a while one that the foreman has not heard of yet.
        winners = self.chance.sample(workers, self.chance.randint(1, len(workers))) if won else []
        if won and self.chance.random() < 0.1:
            winners.append("worker-unheard-of")
        return Verdict(
            task=task,
            state=state,
            committed=self.chance.randint(0, 4),
            outstanding=self.chance.randint(0, 2),
            key=b"k" * 32 if won else None,
            digest=self.chance.choice([b"d" * 32, b"e" * 32]) if won else None,
            winners=tuple(Winner(worker=worker, delivery_secret=b"s" * 32) for worker in winners),
            results=tuple(DisputedResult(worker=each, digest=b"d" * 32, delivery_secret=b"s" * 32) for each in workers)
            if state is TaskState.DISPUTED
            else (),
            wanted=self.chance.randint(0, 2),
        )

    def delivery(self, task: str, worker: str) -> ev.Event:
        events: list[ev.Event] = [
            ev.ResultKept(now=self.now, task=task),
            ev.ResultKept(now=self.now, task=task),
            ev.Undelivered(now=self.now, task=task, worker=worker, reason="gone"),
            ev.CodeFailed(now=self.now, task=task, error=self.chance.choice(FAILURES)),
            ev.Crashed(now=self.now, task=task, detail="exit status 3"),
        ]
        return self.chance.choice(events)

    def diagnosis(self) -> Diagnosis | None:
        return self.chance.choice([None, *(make_diagnosis(suspect) for suspect in Suspect)])


def make_diagnosis(suspect: Suspect) -> Diagnosis:
    difference = Difference(where="key 1", first="1", second="2")
    return Diagnosis(suspect=suspect, difference=difference, workers=("worker-1", "worker-2"))


@pytest.mark.parametrize("rule", ["majority:3", "majority:3:3", "quorum:1", "quorum:2", "error:0.01", "none"])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
@example(seed=0)
def test_no_order_of_events_breaks_the_machine(rule: str, seed: int) -> None:
    Chaos(random.Random(seed), rule).play()
