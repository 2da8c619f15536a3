"""The foreman's state machine at the end of a phase: another worker checks the last provisional win of each worker."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest

from ec262.domain.errors import LimitReached
from ec262.domain.foreman.run import collecting
from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run.collecting import TASKS_PER_CHECK
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.foreman.run.running_task import Step
from ec262.domain.protocol.foreman_calls import Verdict
from ec262.domain.protocol.limits import MAX_BATCH, MAX_ORDERS
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import Phase, TaskName
from tests.unit.domain.foreman.test_job_run import bought, commit, end, judge, kinds, name, only, started, verdict

POLICY = RunPolicy(rule="error:0.01", attempts=2, patience_s=10)
LIE = b"e" * 32


def win(task: str, state: TaskState, *winners: str, digest: bytes = b"d" * 32, outstanding: int = 0) -> Verdict:
    won = verdict(task, winners=winners)
    return attrs.evolve(won, state=state, digest=digest, outstanding=outstanding)


def task_id(index: int) -> str:
    return f"task-{index:04}"


def delivered(workers: Sequence[str], *, run: JobRun | None = None, phase: Phase = Phase.MAP) -> list[ev.Instruction]:
    """Let each worker decide one task alone, one after another; return what the run does last."""
    run = run or started(len(workers), POLICY)
    first = 0 if phase is Phase.MAP else 5000
    names = [TaskName(phase=phase, index=index) for index in range(len(workers))]
    for start in range(0, len(workers), MAX_BATCH):
        asked = tuple(names[start : start + MAX_BATCH])
        alone = tuple(bought(task_id(first + each.index), (workers[each.index],)) for each in asked)
        run.handle(ev.Bought(now=0, asked=asked, tasks=alone, shortfall=""))
    last: list[ev.Instruction] = []
    for index, worker in enumerate(workers, first):
        commit(run, worker, task=task_id(index))
        judge(run, win(task_id(index), TaskState.PROVISIONAL, worker), task=task_id(index), now=1)
        last = run.handle(ev.ResultKept(now=2, task=task_id(index)))
    return last


def checking() -> tuple[JobRun, ev.Extend]:
    """Return a run of TASKS_PER_CHECK tasks, all decided by one worker, whose last one is about to be checked."""
    run = started(TASKS_PER_CHECK, POLICY)
    return run, only(ev.Extend, delivered(["worker-a"] * TASKS_PER_CHECK, run=run))


def added(run: JobRun, extend: ev.Extend, worker: str = "worker-b") -> list[ev.Instruction]:
    tasks = tuple(bought(order.task, (worker,)) for order in extend.orders)
    return run.handle(ev.Added(now=3, asked=extend.tasks, tasks=tasks, shortfall=""))


LAST = task_id(TASKS_PER_CHECK - 1)


def test_the_last_provisional_win_of_each_worker_is_checked_before_any_is_accepted() -> None:
    workers = [f"worker-{index % 2}" for index in range(2 * TASKS_PER_CHECK)]
    last = delivered(workers)
    extend = only(ev.Extend, last)
    assert {(order.task, order.replicas) for order in extend.orders} == {
        (task_id(len(workers) - 2), 1),
        (task_id(len(workers) - 1), 1),
    }
    assert ev.Accept not in kinds(last)


def test_the_workers_with_most_provisional_wins_are_checked_if_there_may_not_be_a_check_for_each() -> None:
    workers = ["worker-b", *["worker-a"] * (TASKS_PER_CHECK - 2), "worker-c"]
    (order,) = only(ev.Extend, delivered(workers)).orders
    assert order.task == task_id(TASKS_PER_CHECK - 2)


def test_a_small_phase_pays_for_no_check() -> None:
    last = delivered(["worker-a"] * (TASKS_PER_CHECK - 1))
    assert ev.Extend not in kinds(last)
    assert len(only(ev.Accept, last).tasks) == TASKS_PER_CHECK - 1


def test_a_check_that_confirms_lets_the_others_be_accepted_and_no_second_one_follows() -> None:
    run, extend = checking()
    assert only(ev.Dispatch, added(run, extend)).replica.worker == "worker-b"
    assert kinds(commit(run, "worker-b", task=LAST)) == [ev.AskVerdicts]
    after = judge(run, win(LAST, TaskState.WON, "worker-a", "worker-b"), task=LAST, now=4)
    accept = only(ev.Accept, after)
    assert len(accept.tasks) == TASKS_PER_CHECK - 1
    assert LAST not in accept.tasks
    assert ev.Fetch not in kinds(after)
    assert ev.Extend not in kinds(after)
    won = tuple(win(task, TaskState.WON, "worker-a") for task in accept.tasks)
    done = run.handle(ev.Accepted(now=5, asked=accept.tasks, verdicts=won))
    assert only(ev.StartReduce, done) == ev.StartReduce()


def test_a_check_that_contradicts_brings_more_workers_and_the_result_that_wins() -> None:
    run, extend = checking()
    added(run, extend)
    commit(run, "worker-b", task=LAST)
    opened = Verdict(task=LAST, state=TaskState.OPEN, committed=2, outstanding=0, wanted=1)
    more = only(ev.Extend, judge(run, opened, task=LAST, now=4))
    assert ev.Accept not in kinds(added(run, more, "worker-c"))
    commit(run, "worker-c", task=LAST)
    other = win(LAST, TaskState.WON, "worker-b", "worker-c", digest=LIE)
    assert ev.Fetch in kinds(judge(run, other, task=LAST, now=5))
    accept = only(ev.Accept, run.handle(ev.ResultKept(now=6, task=LAST)))
    assert LAST not in accept.tasks


def test_a_check_lasts_until_the_second_worker_has_committed_or_will_not() -> None:
    run, extend = checking()
    added(run, extend)
    waits = judge(run, win(LAST, TaskState.PROVISIONAL, "worker-a", outstanding=1), task=LAST, now=4)
    assert ev.Accept not in kinds(waits)
    assert run.count(Step.RUNNING) == 1
    assert kinds(end(run, "worker-b", task=LAST)) == [ev.AskVerdicts]
    after = judge(run, win(LAST, TaskState.PROVISIONAL, "worker-a", outstanding=1), task=LAST, now=5)
    assert len(only(ev.Accept, after).tasks) == TASKS_PER_CHECK


@pytest.mark.parametrize("answer", ["nobody", "poor", "limit"])
def test_a_job_goes_on_without_a_check_that_cannot_be_had(answer: str) -> None:
    run, extend = checking()
    asked = extend.tasks
    event: ev.Event = ev.Added(now=3, asked=asked, tasks=(), shortfall="")
    if answer == "poor":
        event = ev.TooPoor(now=3, asked=asked, have=0, need=1)
    elif answer == "limit":
        event = ev.LimitHit(now=3, asked=asked, error=LimitReached("no more"))
    after = run.handle(event)
    assert len(only(ev.Accept, after).tasks) == TASKS_PER_CHECK
    assert not {ev.Fail, ev.Extend} & set(kinds(after))
    assert not {ev.AskVerdicts, ev.Extend} & set(kinds(run.handle(ev.TimerRang(now=50))))


def test_checks_are_ordered_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "TASKS_PER_CHECK", 1)
    workers = [f"worker-{index}" for index in range(MAX_ORDERS + 1)]
    run = started(len(workers), POLICY)
    first = only(ev.Extend, delivered(workers, run=run))
    assert len(first.orders) == MAX_ORDERS
    more = only(ev.Extend, added(run, first, "worker-x"))
    assert len(more.orders) == 1
    assert not {order.task for order in more.orders} & {order.task for order in first.orders}


def test_the_reduce_phase_is_checked_too() -> None:
    run, extend = checking()
    added(run, extend)
    commit(run, "worker-b", task=LAST)
    accept = only(ev.Accept, judge(run, win(LAST, TaskState.WON, "worker-a", "worker-b"), task=LAST, now=4))
    won = tuple(win(task, TaskState.WON, "worker-a") for task in accept.tasks)
    run.handle(ev.Accepted(now=5, asked=accept.tasks, verdicts=won))
    run.handle(ev.PhasePlanned(now=6, tasks=tuple(name(index, Phase.REDUCE) for index in range(TASKS_PER_CHECK))))
    assert ev.Extend in kinds(delivered(["worker-a"] * TASKS_PER_CHECK, run=run, phase=Phase.REDUCE))
