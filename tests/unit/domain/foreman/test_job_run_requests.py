"""How often a foreman calls discovery for a job of 1,000 tasks: simulated on a clock of its own."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import attrs
import pytest

from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run import pace
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.foreman_calls import BoughtReplica, BoughtTask, Verdict, Winner
from ec262.domain.verification.rules import Majority
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import Phase, TaskName

REPLICAS, QUORUM = 3, 2
TRIP_S = 0.005
"""For a call and its answer, or a worker's message."""
WATCH_S = 10.0


@attrs.define
class _Task:
    id: str
    outstanding: set[str]
    committed: list[str] = attrs.Factory(list)

    @property
    def won(self) -> bool:
        return len(self.committed) >= QUORUM


class Simulation:
    """A foreman's machine, a discovery and workers: replicas take ``took_s`` seconds, half to one and a half times."""

    def __init__(self, *, workers: int, slots: int, tasks: int, took_s: float) -> None:
        self._run = JobRun(RunPolicy(rule=Majority(replicas=REPLICAS, quorum=QUORUM)))
        self._names = tuple(TaskName(phase=Phase.MAP, index=index) for index in range(tasks))
        self._free = {f"worker-{number:04}": slots for number in range(workers)}
        self._took_s = took_s
        self._chance = random.Random(262)
        self._known: dict[str, _Task] = {}
        self._ids = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._timer = 0
        self._watched: tuple[str, ...] = ()
        self._done = False
        self.now = 0.0
        self.calls: Counter[str] = Counter()

    def to_the_end(self) -> None:
        """Run the map phase."""
        self._tell(ev.PhasePlanned(now=self.now, tasks=self._names))
        while not self._done:
            self.now, _, act = heapq.heappop(self._agenda)
            act()

    def _later(self, pause_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + pause_s, next(self._ids), act))

    def _tell(self, event: ev.Event) -> None:
        for instruction in self._run.handle(event):
            match instruction:
                case ev.Buy():
                    self.calls["buy"] += 1
                    self._later(TRIP_S, partial(self._bought, instruction))
                case ev.AskVerdicts(heard=None):
                    self.calls["watch"] += 1
                    self._watch(instruction.tasks)
                case ev.AskVerdicts():
                    self.calls["ask"] += 1
                    self._later(TRIP_S, partial(self._judged, instruction.tasks, instruction.heard))
                case ev.Fetch():
                    self._later(TRIP_S, partial(self._deliver, instruction.verdict.task))
                case ev.Wake():
                    self._timer += 1
                    self._later(instruction.at - self.now, partial(self._ring, self._timer))
                case ev.Dispatch():
                    pass  # the workers begin when they are bought
                case ev.StartReduce():
                    self._done = True
                case _:
                    raise AssertionError(instruction)

    def _deliver(self, task: str) -> None:
        self._tell(ev.ResultKept(now=self.now, task=task))

    def _ring(self, timer: int) -> None:
        if timer == self._timer:
            self._tell(ev.TimerRang(now=self.now))

    def _bought(self, buy: ev.Buy) -> None:
        bought = []
        for _ in buy.tasks:
            free = [worker for worker, slots in self._free.items() if slots]
            if len(free) < REPLICAS:
                break
            # Those with the most free slots, so that as many tasks as can be are assigned.
            self._chance.shuffle(free)
            team = sorted(free, key=self._free.__getitem__)[-REPLICAS:]
            task = _Task(f"task-{next(self._ids):08}", set(team))
            self._known[task.id] = task
            for worker in team:
                self._free[worker] -= 1
                self._later(self._took_s * self._chance.uniform(0.5, 1.5), partial(self._commit, worker, task))
            bought.append(task)
        tasks = tuple(BoughtTask(task=task.id, deadline_s=1e6, replicas=_replicas(task.outstanding)) for task in bought)
        self._tell(ev.Bought(now=self.now, asked=buy.tasks, tasks=tasks, shortfall=""))

    def _commit(self, worker: str, task: _Task) -> None:
        self._free[worker] += 1
        task.outstanding.discard(worker)
        task.committed.append(worker)
        if task.won and task.id in self._watched:
            watched, self._watched = self._watched, ()
            self._later(TRIP_S, partial(self._judged, watched, None))
        self._later(TRIP_S, partial(self._hear, worker, task.id))

    def _hear(self, worker: str, task: str) -> None:
        self._tell(ev.ReplicaCommitted(now=self.now, task=task, worker=worker))

    def _watch(self, tasks: tuple[str, ...]) -> None:
        if any(self._known[task].won for task in tasks):
            self._later(TRIP_S, partial(self._judged, tasks, None))
            return
        self._watched = tasks

        def give_up() -> None:
            if self._watched is tasks:
                self._watched = ()
                self._judged(tasks, None)

        self._later(WATCH_S, give_up)

    def _judged(self, asked: tuple[str, ...], heard: tuple[int, ...] | None) -> None:
        verdicts = tuple(_verdict(self._known[task]) for task in asked)
        self._tell(ev.Judged(now=self.now, asked=asked, heard=heard, verdicts=verdicts))


def _replicas(workers: set[str]) -> tuple[BoughtReplica, ...]:
    address = WorkerAddress(host="w", port=1, fingerprint="0" * 64)
    return tuple(BoughtReplica(worker=worker, address=address, secret=b"") for worker in sorted(workers))


def _verdict(task: _Task) -> Verdict:
    winners = tuple(Winner(worker=worker, delivery_secret=b"") for worker in task.committed)
    return Verdict(
        task=task.id,
        state=TaskState.WON if task.won else TaskState.OPEN,
        committed=len(task.committed),
        outstanding=len(task.outstanding),
        winners=winners if task.won else (),
    )


def finished(*, workers: int, slots: int, took_s: float, tasks: int = 1000) -> Simulation:
    simulation = Simulation(workers=workers, slots=slots, tasks=tasks, took_s=took_s)
    simulation.to_the_end()
    return simulation


@pytest.mark.parametrize("took_s", [0.3, 30.0])
def test_a_job_of_a_thousand_tasks_needs_tens_of_calls_and_hardly_more_time(
    took_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered = finished(workers=30, slots=40, took_s=took_s)
    monkeypatch.setattr(pace, "SHARE", 0.0)
    monkeypatch.setattr(pace, "MIN_PAUSE_S", 0.0)
    at_once = finished(workers=30, slots=40, took_s=took_s)
    assert gathered.calls.total() < 100
    assert at_once.calls.total() > 1000
    assert gathered.now < 1.05 * at_once.now


def test_where_five_tasks_fit_at_a_time_they_are_not_many_a_task() -> None:
    assert finished(workers=4, slots=4, took_s=0.1, tasks=200).calls.total() < 2 * 200
