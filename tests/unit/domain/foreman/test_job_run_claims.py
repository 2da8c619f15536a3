"""The foreman's state machine where workers say that the job's own code failed, or that a task hit its limits: under a
rule by which one worker may decide, that must not end a job at one worker's word."""

from __future__ import annotations

import attrs
import pytest

from ec262.domain.errors import KeyCollision, TaskLimitExceeded, UserCodeFailed
from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.foreman.run.running_task import Step
from ec262.domain.protocol.foreman_calls import Verdict
from ec262.domain.verification.rules import MAX_REPLICAS
from ec262.domain.verification.task_state import TaskState
from tests.unit.domain.foreman.test_job_run import bought, commit, judge, kinds, name, only, started, verdict
from tests.unit.domain.foreman.test_job_run_provisional import ALONE, win

POLICY = RunPolicy(rule="error:0.01", attempts=2, patience_s=10)
ERROR = UserCodeFailed(function="mapper", exception="KeyError", row="1", frames=(("lookup", 3),), report="Traceback")
BOTH = (*ALONE, "worker-b")
TASK = "task-0001"


def code_failed(run: JobRun, *, now: float = 2, task: str = TASK) -> list[ev.Instruction]:
    return run.handle(ev.CodeFailed(now=now, task=task, error=ERROR))


def run_of(*workers: str, policy: RunPolicy = POLICY) -> JobRun:
    run = started(1, policy)
    run.handle(ev.Bought(now=0, asked=(name(0),), tasks=(bought(TASK, workers),), shortfall=""))
    return run


def claimed() -> tuple[JobRun, list[ev.Instruction]]:
    """One worker alone has decided that the code failed."""
    run = run_of(*ALONE)
    commit(run, *ALONE)
    assert kinds(judge(run, win(TASK, TaskState.PROVISIONAL), now=1))[0] is ev.Fetch
    return run, code_failed(run)


def add(run: JobRun, order: ev.Extend, *workers: str, now: float = 3) -> list[ev.Instruction]:
    tasks = (bought(TASK, workers),) if workers else ()
    return run.handle(ev.Added(now=now, asked=order.tasks, tasks=tasks, shortfall="" if workers else "nobody"))


def test_one_workers_claim_that_the_code_failed_is_checked_by_another() -> None:
    run, then = claimed()
    order = only(ev.Extend, then)
    assert [(each.task, each.replicas) for each in order.orders] == [(TASK, 1)]
    assert kinds(add(run, order, "worker-b"))[0] is ev.Dispatch
    # As long as that one computes, the win is what it was: there is nothing to fetch again.
    assert ev.Fetch not in kinds(judge(run, win(TASK, TaskState.PROVISIONAL), now=4))
    assert run.count(Step.RUNNING) == 1
    assert ev.AskVerdicts in kinds(commit(run, "worker-b"))
    assert ev.Fetch in kinds(judge(run, win(TASK, TaskState.WON, winners=BOTH), now=5))
    (end,) = code_failed(run, now=6)
    assert end == ev.Fail(error=ERROR)


def test_a_contradicted_worker_is_not_believed() -> None:
    run, then = claimed()
    add(run, only(ev.Extend, then), "worker-b")
    commit(run, "worker-b")
    differ = Verdict(task=TASK, state=TaskState.OPEN, committed=2, outstanding=0, wanted=1)
    add(run, only(ev.Extend, judge(run, differ, now=5)), "worker-c")
    commit(run, "worker-c")
    truth = win(TASK, TaskState.WON, digest=b"e" * 32, winners=("worker-b", "worker-c"))
    assert only(ev.Fetch, judge(run, truth, now=6)).replica.worker == "worker-b"
    assert only(ev.StartReduce, run.handle(ev.ResultKept(now=7, task=TASK))) == ev.StartReduce()


def test_where_the_second_gives_no_result_a_third_is_asked() -> None:
    run, then = claimed()
    add(run, only(ev.Extend, then), "worker-b")
    ended = run.handle(ev.ReplicaEnded(now=4, task=TASK, worker="worker-b", reason="lost"))
    assert kinds(ended)[0] is ev.AskVerdicts
    assert len(only(ev.Extend, judge(run, win(TASK, TaskState.PROVISIONAL), now=5)).orders) == 1


def test_without_other_workers_the_job_ends_and_names_the_one_that_claimed() -> None:
    run, then = claimed()
    order = only(ev.Extend, then)
    assert ev.Fail not in kinds(add(run, order, now=3))
    # The task is asked after, in case somebody decided it meanwhile: nobody did.
    assert ev.Extend not in kinds(judge(run, win(TASK, TaskState.PROVISIONAL), now=3.1))
    order = only(ev.Extend, run.handle(ev.TimerRang(now=13)))
    end = only(ev.Fail, add(run, order, now=13.1)).error
    assert isinstance(end, UserCodeFailed)
    assert not end.confirmed
    assert str(end) == (
        "the mapper raised KeyError at the row with key 1 "
        "(according to one worker; no other was available to confirm it)"
    )
    assert (end.frames, end.report) == (ERROR.frames, ERROR.report)


def test_when_credits_run_out_the_claim_is_reported() -> None:
    run, then = claimed()
    order = only(ev.Extend, then)
    end = only(ev.Fail, run.handle(ev.TooPoor(now=3, asked=order.tasks, have=0, need=1))).error
    assert isinstance(end, UserCodeFailed)
    assert not end.confirmed


def test_a_claim_accepted_by_its_deadline_has_the_task_bought_again() -> None:
    run, then = claimed()
    add(run, only(ev.Extend, then), "worker-b")
    assert ev.Fetch in kinds(judge(run, win(TASK, TaskState.SETTLED), now=5))
    buy = only(ev.Buy, code_failed(run, now=6))
    assert buy.tasks == (name(0),)
    run.handle(ev.Bought(now=7, asked=buy.tasks, tasks=(bought("task-0002", ALONE),), shortfall=""))
    commit(run, *ALONE, task="task-0002")
    judge(run, win("task-0002", TaskState.SETTLED), task="task-0002", now=8)
    end = only(ev.Fail, code_failed(run, now=9, task="task-0002")).error
    assert isinstance(end, UserCodeFailed), "it was bought as often as it may be"


def test_a_full_task_is_bought_again() -> None:
    run = run_of(*(f"worker-{number:02}" for number in range(MAX_REPLICAS)))
    commit(run, "worker-00")
    judge(run, win(TASK, TaskState.PROVISIONAL, winners=("worker-00",)), now=1)
    assert only(ev.Buy, code_failed(run)).tasks == (name(0),)


def test_while_others_of_its_team_compute_nobody_is_added() -> None:
    run = run_of(*BOTH)
    commit(run, *ALONE)
    judge(run, win(TASK, TaskState.PROVISIONAL), now=1)
    assert ev.Extend not in kinds(code_failed(run))
    assert run.count(Step.RUNNING) == 1


@pytest.mark.parametrize("rule", ["none", "majority:3", "quorum:2"])
def test_rules_to_which_it_does_not_matter_who_says_so_end_the_job(rule: str) -> None:
    winners = ALONE if rule == "none" else BOTH
    run = run_of(*winners, policy=attrs.evolve(POLICY, rule=rule, one_word=True))
    commit(run, *winners)
    judge(run, verdict(TASK, winners=winners))
    assert code_failed(run) == [ev.Fail(error=ERROR)]


def test_news_of_a_claim_may_be_stale() -> None:
    run, _ = claimed()
    assert code_failed(run) == []
    assert code_failed(run, task="another") == []


# --- limits ---------------------------------------------------------------------------------------------------------


def test_one_workers_claim_that_a_limit_was_hit_is_checked_by_another() -> None:
    limit = TaskLimitExceeded(task="map task 1", limit="memory", detail="64 MiB")
    run = run_of(*ALONE)
    commit(run, *ALONE)
    judge(run, win(TASK, TaskState.PROVISIONAL), now=1)
    order = only(ev.Extend, run.handle(ev.CodeFailed(now=2, task=TASK, error=limit)))
    end = only(ev.Fail, run.handle(ev.TooPoor(now=3, asked=order.tasks, have=0, need=1))).error
    assert isinstance(end, TaskLimitExceeded)
    assert not end.confirmed
    assert "according to one worker" in str(end)


def test_one_workers_claim_of_a_crash_has_the_task_bought_again() -> None:
    run = run_of(*ALONE)
    commit(run, *ALONE)
    judge(run, win(TASK, TaskState.PROVISIONAL), now=1)
    assert only(ev.Buy, run.handle(ev.Crashed(now=2, task=TASK, detail="signal 11"))).tasks == (name(0),)


# --- keys that clash ------------------------------------------------------------------------------------------------

CLASH = KeyCollision(1, 1.0)


def checking(state: TaskState = TaskState.PROVISIONAL, workers: tuple[str, ...] = ALONE) -> JobRun:
    """Return a run whose only task was delivered, at one worker's word, and whose results are being checked."""
    run = JobRun(POLICY)
    run.handle(ev.PhasePlanned(now=0, tasks=(name(0),)))
    run.handle(ev.Bought(now=0, asked=(name(0),), tasks=(bought(TASK, workers),), shortfall=""))
    commit(run, *ALONE)
    assert only(ev.Fetch, judge(run, win(TASK, state), now=1)).alone
    assert run.handle(ev.ResultKept(now=2, task=TASK))[-1] == ev.CheckPhase(doubted=(name(0),))
    return run


def clashes(run: JobRun, *tasks: int, now: float = 3) -> list[ev.Instruction]:
    return run.handle(ev.PhaseChecked(now=now, error=CLASH, tasks=tuple(map(name, tasks))))


def test_nothing_is_accepted_before_it_is_checked() -> None:
    run = checking()
    assert ev.Accept not in kinds(run.handle(ev.TimerRang(now=2.5)))
    assert ev.Accept in kinds(run.handle(ev.PhaseChecked(now=3)))


def test_a_key_clash_claimed_by_one_worker_is_checked_by_another() -> None:
    run = checking()
    order = only(ev.Extend, clashes(run, 0))
    add(run, order, "worker-b", now=4)
    commit(run, "worker-b")
    confirmed = judge(run, win(TASK, TaskState.WON, winners=BOTH), now=5)
    assert ev.Fetch not in kinds(confirmed), "it is there"
    assert only(ev.StartReduce, confirmed), "that its keys clash is for the shuffle to say"


def test_keys_that_clash_whatever_is_doubted_end_the_job() -> None:
    assert clashes(checking()) == [ev.Fail(error=CLASH)]


def test_a_clash_that_nobody_can_confirm_is_reported_as_one_workers_claim() -> None:
    run = checking()
    order = only(ev.Extend, clashes(run, 0))
    end = only(ev.Fail, run.handle(ev.TooPoor(now=4, asked=order.tasks, have=0, need=1))).error
    assert isinstance(end, KeyCollision)
    assert not end.confirmed
    assert "according to one worker" in str(end)


@pytest.mark.parametrize("later", [False, True])
def test_what_was_accepted_by_its_deadline_is_bought_again_where_its_keys_clash(*, later: bool) -> None:
    run = checking(TaskState.PROVISIONAL if later else TaskState.SETTLED)
    then = clashes(run, 0)
    if later:
        add(run, only(ev.Extend, then), now=4)
        then = judge(run, win(TASK, TaskState.SETTLED), now=5)
    assert only(ev.Buy, then).tasks == (name(0),)
