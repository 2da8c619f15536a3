"""The foreman's state machine where the rule asks for more workers than a task was bought with."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from ec262.domain.errors import InsufficientCredits, TaskAbandoned
from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.foreman.run.running_task import Step
from ec262.domain.protocol.foreman_calls import BoughtTask, ReplicaOrder, Verdict
from ec262.domain.protocol.limits import MAX_ORDERS
from ec262.domain.verification.rules import MAX_REPLICAS
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import TaskName
from tests.unit.domain.foreman.test_job_run import bought, commit, end, judge, kinds, name, only, started, verdict

QUORUM = RunPolicy(rule="quorum:2", attempts=2, patience_s=10)
PAIR = ("worker-a", "worker-b")


def wants(more: int, *, task: str = "task-0001", committed: int = 2, outstanding: int = 0) -> Verdict:
    return Verdict(task=task, state=TaskState.OPEN, committed=committed, outstanding=outstanding, wanted=more)


def pair_running(policy: RunPolicy = QUORUM, tasks: int = 1) -> JobRun:
    """Return a run of tasks "task-0001", ..., bought from two workers each at time 0."""
    run = started(tasks, policy)
    asked = tuple(map(name, range(tasks)))
    pairs = tuple(bought(f"task-000{number + 1}", PAIR) for number in range(tasks))
    run.handle(ev.Bought(now=0, asked=asked, tasks=pairs, shortfall=""))
    return run


def lacking(policy: RunPolicy = QUORUM) -> JobRun:
    """Return a run whose one task lacks a worker that was ordered."""
    run = pair_running(policy)
    commit(run, *PAIR)
    assert only(ev.Extend, judge(run, wants(1))).orders == (ReplicaOrder(task="task-0001", replicas=1),)
    return run


def add(run: JobRun, *tasks: BoughtTask, asked: int = 1, now: float = 3) -> list[ev.Instruction]:
    names = tuple(map(name, range(asked)))
    return run.handle(ev.Added(now=now, asked=names, tasks=tasks, shortfall="" if len(tasks) == asked else "too few"))


def test_workers_that_differ_get_company() -> None:
    run = lacking()
    (dispatch, _wake) = add(run, bought("task-0001", ("worker-c",)))
    assert isinstance(dispatch, ev.Dispatch)
    assert (dispatch.task, dispatch.replica.worker) == ("task-0001", "worker-c")
    assert run.count(Step.RUNNING) == 1
    (ask,) = commit(run, "worker-c")
    assert ask == ev.AskVerdicts(tasks=("task-0001",), heard=(4,))
    fetch = only(ev.Fetch, judge(run, verdict("task-0001", winners=("worker-b", "worker-c"))))
    assert fetch.replica.worker == "worker-b"
    (history,) = run.history()
    (purchase,) = history.purchases
    assert (purchase.task, purchase.rule, purchase.why_lost) == ("task-0001", "quorum:2", "")
    assert [replica.worker for replica in purchase.replicas] == ["worker-a", "worker-b", "worker-c"]


def test_the_deadline_moves_back_with_an_addition() -> None:
    run = lacking()
    add(run, bought("task-0001", ("worker-c",)), now=60)
    assert judge(run, wants(0, outstanding=1), now=159) == []
    assert ev.Buy in kinds(judge(run, wants(0, outstanding=1), now=160))


def test_lost_workers_are_replaced_although_discovery_still_counts_on_them() -> None:
    run = pair_running()
    commit(run, "worker-a")
    assert kinds(end(run, "worker-b")) == [ev.AskVerdicts]
    extend = only(ev.Extend, judge(run, wants(0, committed=1, outstanding=1)))
    assert extend.orders == (ReplicaOrder(task="task-0001", replicas=1),)
    assert extend.avoid == ("worker-b",)


def test_lost_workers_are_replaced_before_the_last_commitment() -> None:
    run = pair_running()
    assert kinds(end(run, "worker-a")) == [ev.AskVerdicts]
    extend = only(ev.Extend, judge(run, wants(0, committed=0, outstanding=2)))
    assert extend.orders == (ReplicaOrder(task="task-0001", replicas=1),)


def test_a_rule_that_cannot_tell_yet_how_many_it_wants_is_waited_for() -> None:
    run = pair_running(attrs.evolve(QUORUM, rule="error:0.01"))
    assert kinds(end(run, "worker-a")) == [ev.AskVerdicts]
    assert judge(run, wants(0, committed=0, outstanding=1)) == []
    assert run.count(Step.RUNNING) == 1


def test_an_answer_to_a_question_from_before_an_addition_adds_no_more() -> None:
    run = lacking()
    add(run, bought("task-0001", ("worker-c",)))
    old = ev.Judged(now=3, asked=("task-0001",), heard=(2,), verdicts=(wants(1),))
    assert run.handle(old) == []
    new = ev.Judged(now=3, asked=("task-0001",), heard=(2,), verdicts=(wants(0, outstanding=1),))
    assert run.handle(new) == []
    assert run.handle(old) == []


def test_workers_that_could_not_be_added_are_requested_again() -> None:
    run = lacking()
    assert kinds(add(run)) == [ev.Wake]
    assert ev.AskVerdicts in kinds(run.handle(ev.TimerRang(now=3.1)))
    assert judge(run, wants(2), now=3.1) == []
    extend = only(ev.Extend, run.handle(ev.TimerRang(now=3.3)))
    assert extend.orders == (ReplicaOrder(task="task-0001", replicas=2),)


def test_a_task_that_lacks_workers_can_be_won_by_one_that_was_given_up() -> None:
    run = lacking()
    add(run)
    assert kinds(judge(run, verdict("task-0001", winners=PAIR)))[0] is ev.Fetch


def test_news_is_taken_in_while_workers_are_ordered() -> None:
    run = pair_running()
    commit(run, "worker-a")
    end(run, "worker-b")
    judge(run, wants(0, committed=1, outstanding=1))
    assert commit(run, "worker-b") == []  # it was lost, and has committed all the same
    assert end(run, "worker-b") == []
    assert run.handle(ev.Judged(now=3, asked=("task-0001",), heard=(3,), verdicts=(verdict("task-0001"),))) == []
    add(run)
    assert kinds(commit(run, "worker-b")) == [ev.AskVerdicts]
    assert end(run, "worker-c") == []


def test_a_task_that_expires_while_it_lacks_workers_is_bought_again() -> None:
    run = lacking()
    add(run)
    buy = only(ev.Buy, judge(run, Verdict(task="task-0001", state=TaskState.REFUNDED, committed=2, outstanding=0)))
    assert buy == ev.Buy(tasks=(name(0),), rule="quorum:2", avoid=PAIR)


def test_a_task_that_lacks_workers_for_too_long_is_bought_again_and_finally_given_up() -> None:
    run = lacking()
    add(run, now=3)
    run.handle(ev.TimerRang(now=8))
    assert ev.Buy not in kinds(add(run, now=8))
    run.handle(ev.TimerRang(now=14))
    assert only(ev.Buy, add(run, now=14)).avoid == PAIR
    run.handle(ev.Bought(now=14, asked=(name(0),), tasks=(bought("task-0002", PAIR),), shortfall=""))
    commit(run, *PAIR, task="task-0002")
    judge(run, wants(1, task="task-0002"), task="task-0002", now=15)
    add(run, now=15)
    run.handle(ev.TimerRang(now=26))
    fail = only(ev.Fail, add(run, now=26))
    assert isinstance(fail.error, TaskAbandoned)
    assert "no other worker to ask" in str(fail.error)
    assert "different results" in str(fail.error)


def test_a_task_with_the_maximum_of_workers_is_bought_again() -> None:
    run = pair_running()
    end(run, *PAIR)
    assert ev.Buy in kinds(judge(run, wants(MAX_REPLICAS - 1, committed=0)))


def test_too_poor_for_more_workers_waits_for_a_refund_or_ends_the_job() -> None:
    poor = ev.TooPoor(now=3, asked=(name(0),), have=0, need=1)
    fail = only(ev.Fail, lacking().handle(poor))
    assert isinstance(fail.error, InsufficientCredits)
    assert "additional workers" in str(fail.error)
    run = lacking()
    run._purchases._refunds.append(50.0)
    assert kinds(run.handle(poor)) == [ev.Wake]
    assert ev.Extend not in kinds(run.handle(ev.TimerRang(now=49)))
    assert ev.Extend in kinds(run.handle(ev.TimerRang(now=50)))


def test_orders_go_together_as_many_as_a_call_may_have_and_before_new_tasks() -> None:
    tasks = MAX_ORDERS + 2
    run = started(tasks + 1, QUORUM)
    asked = tuple(map(name, range(tasks + 1)))
    pairs = tuple(bought(f"task-000{number}", PAIR) for number in range(tasks))
    run.handle(ev.Bought(now=0, asked=asked, tasks=pairs, shortfall="too few"))
    ids = tuple(task.task for task in pairs)
    for task in ids:
        commit(run, *PAIR, task=task)
    open_still = tuple(wants(1, task=task) for task in ids)
    judged = run.handle(ev.Judged(now=2, asked=ids, heard=(2,) * tasks, verdicts=open_still))
    assert len(only(ev.Extend, judged).orders) == 1  # the first one had nothing to wait for
    more = run.handle(ev.Added(now=2, asked=(name(0),), tasks=(bought("task-0000", ("worker-c",)),), shortfall=""))
    assert len(only(ev.Extend, more).orders) == MAX_ORDERS
    asked = only(ev.Extend, more).tasks
    added = tuple(bought(f"task-000{each.index}", ("worker-c",)) for each in asked)
    rest = run.handle(ev.Added(now=2, asked=asked, tasks=added, shortfall=""))
    assert len(only(ev.Extend, rest).orders) == 1
    last = run.handle(ev.Added(now=2, asked=only(ev.Extend, rest).tasks, tasks=(), shortfall="too few"))
    assert only(ev.Buy, last).tasks == (name(tasks),)


def test_a_timer_that_rings_while_a_purchase_is_under_way_is_not_set_for_now() -> None:
    run = lacking()
    run._purchases._tasks_retry.at = 1.0
    assert ev.Wake not in kinds(run.handle(ev.TimerRang(now=2)))  # the answer to the purchase wakes


class ByPurchase:
    """Odd tasks need more agreement; what was bought before is not added to."""

    def rule_for(self, name: TaskName, purchases: int) -> str:
        return f"quorum:{2 + name.index % 2 + purchases}"

    def replicas_to_add(self, name: TaskName, verdict: Verdict) -> Any:
        return 0 if name.index else verdict.wanted + 1


def test_a_plan_chooses_the_rules_and_how_many_are_added() -> None:
    policy = attrs.evolve(QUORUM, rule=ByPurchase())
    run = JobRun(policy)
    first = only(ev.Buy, run.handle(ev.PhasePlanned(now=0, tasks=tuple(map(name, range(4))))))
    assert (first.tasks, first.rule) == ((name(0), name(2)), "quorum:2")
    even = tuple(bought(f"task-000{index}", PAIR) for index in (0, 2))
    second = only(ev.Buy, run.handle(ev.Bought(now=0, asked=first.tasks, tasks=even, shortfall="")))
    assert (second.tasks, second.rule) == ((name(1), name(3)), "quorum:3")
    odd = tuple(bought(f"task-000{index}") for index in (1, 3))
    run.handle(ev.Bought(now=0, asked=second.tasks, tasks=odd, shortfall=""))
    commit(run, *PAIR, task="task-0000")
    extend = only(ev.Extend, judge(run, wants(1, task="task-0000"), task="task-0000"))
    assert extend.orders == (ReplicaOrder(task="task-0000", replicas=2),)
    run.handle(ev.Added(now=2, asked=extend.tasks, tasks=(bought("task-0000", ("worker-d",)),), shortfall=""))
    end(run, "worker-a", "worker-b", "worker-c", task="task-0001")
    again = only(ev.Buy, judge(run, wants(3, task="task-0001", committed=0), task="task-0001", now=3))
    assert (again.tasks, again.rule) == ((name(1),), "quorum:4")


def test_asking_for_a_state_that_a_task_is_not_in_is_a_defect() -> None:
    run = started()
    with pytest.raises(AssertionError, match="is buying and not bought"):
        _ = run._tasks[name(0)].current
