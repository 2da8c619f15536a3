"""The foreman's state machine where discovery refuses a purchase: too few credits, or too much under way."""

from __future__ import annotations

import pytest

from ec262.domain.errors import InsufficientCredits, LimitReached
from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.purchase_retry import MAX_RETRY_S, Wait
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.protocol.foreman_calls import Verdict
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import TaskName
from tests.unit.domain.foreman.test_job_run import (
    POLICY,
    WORKERS,
    bought,
    commit,
    end,
    judge,
    kinds,
    name,
    only,
    running,
    started,
    verdict,
)
from tests.unit.domain.foreman.test_job_run_provisional import ALONE, win

ANY = LimitReached("too many open tasks: 4 and 1 more, but an account may have 4")


def hit(run: JobRun, *asked: TaskName, now: float = 0) -> list[ev.Instruction]:
    return run.handle(ev.LimitHit(now=now, asked=asked or (name(0),), error=ANY))


def waiting(run: JobRun) -> Wait:
    assert run.waiting is not None
    return run.waiting


def ask_again(run: JobRun, now: float) -> tuple[TaskName, ...]:
    return only(ev.Buy, run.handle(ev.TimerRang(now=now))).tasks


def buy_all(run: JobRun, asked: tuple[TaskName, ...], now: float = 0) -> list[ev.Instruction]:
    tasks = tuple(bought(f"task-{each.index:04}") for each in asked)
    return run.handle(ev.Bought(now=now, asked=asked, tasks=tasks, shortfall=""))


def test_fewer_tasks_are_asked_for_until_the_account_may_have_them() -> None:
    run = started(12)
    six = only(ev.Buy, hit(run, *map(name, range(12))))
    three = only(ev.Buy, hit(run, *six.tasks))
    assert len(three.tasks) == 3
    assert len(only(ev.Buy, buy_all(run, three.tasks)).tasks) == 6
    assert run.waiting is None


def test_room_for_a_task_is_waited_for_and_asked_for_after_pauses_that_grow() -> None:
    run = started()
    assert hit(run) == [ev.Wake(at=POLICY.retry_s)]
    assert str(ANY) in waiting(run).what
    assert waiting(run).until == POLICY.patience_s
    assert ask_again(run, now=1) == (name(0),)
    assert hit(run, now=1) == [ev.Wake(at=1 + 2 * POLICY.retry_s)]
    for now in (3, 6):
        ask_again(run, now=now)
        hit(run, now=now)
    ask_again(run, now=9)
    assert hit(run, now=9) == [ev.Wake(at=9 + MAX_RETRY_S)]
    ask_again(run, now=9 + MAX_RETRY_S)
    assert kinds(buy_all(run, (name(0),), now=11)) == [ev.Dispatch] * 3 + [ev.Wake]
    assert run.waiting is None


def test_slots_taken_by_other_jobs_are_waited_for_within_patience() -> None:
    run = started()
    hit(run)
    ask_again(run, now=POLICY.patience_s)
    fail = only(ev.Fail, hit(run, now=POLICY.patience_s))
    assert isinstance(fail.error, LimitReached)
    assert str(fail.error) == f"{ANY}; this did not change for {POLICY.patience_s:.0f} s"


def test_a_jobs_own_tasks_are_waited_for_until_their_deadline() -> None:
    run = started(2)
    asked = only(
        ev.Buy,
        run.handle(ev.Bought(now=0, asked=(name(0), name(1)), tasks=(bought("task-0000"),), shortfall="busy"))
        + run.handle(ev.TimerRang(now=60)),
    ).tasks
    commit(run, "worker-a", "worker-b", task="task-0000")
    judge(run, verdict("task-0000"), task="task-0000")
    hit(run, *asked, now=60)
    assert run.waiting is None, "as long as something runs, it makes room"
    run.handle(ev.ResultKept(now=61, task="task-0000"))
    settled_at = 100 + POLICY.grace_s
    assert waiting(run).until == settled_at
    ask_again(run, now=settled_at - 1)
    assert ev.Fail not in kinds(hit(run, *asked, now=settled_at - 1))
    ask_again(run, now=settled_at + 1)
    assert ev.Fail in kinds(hit(run, *asked, now=settled_at + 1))


def test_patience_starts_again_after_each_purchase() -> None:
    run = started(2)
    one = only(ev.Buy, hit(run, name(0), name(1))).tasks
    hit(run, *one)
    asked = ask_again(run, now=9)
    other = only(
        ev.Buy, run.handle(ev.Bought(now=9, asked=asked, tasks=(bought("task-0000", deadline_s=1),), shortfall=""))
    ).tasks
    hit(run, *other, now=12)
    ask_again(run, now=15)
    assert ev.Fail not in kinds(hit(run, *other, now=15))


def test_lone_wins_are_accepted_if_nothing_else_makes_room() -> None:
    run = started(2, RunPolicy(rule="error:0.01", attempts=2, patience_s=10))
    run.handle(ev.Bought(now=0, asked=(name(0), name(1)), tasks=(bought("task-0000", ALONE),), shortfall="busy"))
    asked = only(ev.Buy, run.handle(ev.TimerRang(now=1))).tasks
    commit(run, *ALONE, task="task-0000")
    judge(run, win("task-0000", TaskState.PROVISIONAL), task="task-0000", now=1)
    assert ev.Accept not in kinds(hit(run, *asked, now=2))
    assert only(ev.Accept, run.handle(ev.ResultKept(now=2, task="task-0000"))).tasks == ("task-0000",)


def test_workers_that_the_account_may_not_have_yet_are_waited_for() -> None:
    run = started(policy=RunPolicy(rule="quorum:2", attempts=2, patience_s=10))
    run.handle(ev.Bought(now=0, asked=(name(0),), tasks=(bought("task-0001", WORKERS[:2]),), shortfall=""))
    end(run, *WORKERS[:2])
    lacking = judge(run, Verdict(task="task-0001", state=TaskState.OPEN, committed=0, outstanding=0, wanted=2))
    asked = only(ev.Extend, lacking).tasks
    hit(run, *asked, now=3)
    assert waiting(run).for_limit
    assert ev.Extend in kinds(run.handle(ev.TimerRang(now=3 + POLICY.retry_s)))
    more = bought("task-0001", ("worker-c", "worker-d"))
    run.handle(ev.Added(now=4, asked=asked, tasks=(more,), shortfall=""))
    assert run.waiting is None


def test_a_pending_refund_is_shown_with_its_time() -> None:
    run = running()
    end(run, *WORKERS)
    judge(run, verdict("task-0001", TaskState.OPEN))
    run.handle(ev.TooPoor(now=3, asked=(name(0),), have=1, need=3))
    assert waiting(run).what == "waiting for the refund of a lost task (1 credits left, 3 needed)"
    assert waiting(run).until == 100 + POLICY.grace_s


def test_with_a_refund_to_come_what_the_credits_pay_for_is_bought_at_once() -> None:
    run = started(4)
    names = tuple(map(name, range(4)))
    run.handle(ev.Bought(now=0, asked=names, tasks=(bought("task-0000"),), shortfall="busy"))
    end(run, *WORKERS, task="task-0000")
    asked = only(ev.Buy, judge(run, verdict("task-0000", TaskState.OPEN), task="task-0000")).tasks
    assert len(asked) == 4
    two = only(ev.Buy, run.handle(ev.TooPoor(now=5, asked=asked, have=3, need=6))).tasks
    one = only(ev.Buy, run.handle(ev.TooPoor(now=5, asked=two, have=3, need=6))).tasks
    assert len(one) == 1
    assert ev.Dispatch in kinds(buy_all(run, one, now=5))


@pytest.mark.parametrize("tasks", [1, 4])
def test_credits_that_nothing_brings_back_end_the_job_at_once(tasks: int) -> None:
    asked = tuple(map(name, range(tasks)))
    fail = only(ev.Fail, started(tasks).handle(ev.TooPoor(now=0, asked=asked, have=2, need=3)))
    assert isinstance(fail.error, InsufficientCredits)
