"""The foreman's state machine where one worker's word decides, until it is accepted or opened again."""

from __future__ import annotations

import attrs
import pytest

from ec262.domain.foreman.run import collecting
from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run.collecting import ACCEPT_AHEAD_S
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.foreman.run.running_task import Step
from ec262.domain.protocol.foreman_calls import Verdict
from ec262.domain.protocol.limits import MAX_BATCH
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import Phase
from tests.unit.domain.foreman.test_job_run import bought, commit, judge, kinds, name, only, started, verdict

POLICY = RunPolicy(rule="error:0.01", attempts=2, patience_s=10)
ALONE = ("worker-a",)


def win(task: str, state: TaskState, *, digest: bytes = b"d" * 32, winners: tuple[str, ...] = ALONE) -> Verdict:
    return attrs.evolve(verdict(task, winners=winners), state=state, digest=digest)


def delivered(tasks: int = 1) -> tuple[JobRun, list[ev.Instruction]]:
    """Return a run whose tasks "task-0000", ... were delivered, won by one worker's word, and what it did last."""
    run = started(tasks, POLICY)
    names = tuple(map(name, range(tasks)))
    for start in range(0, tasks, MAX_BATCH):
        asked = names[start : start + MAX_BATCH]
        alone = tuple(bought(f"task-000{each.index}", ALONE) for each in asked)
        run.handle(ev.Bought(now=0, asked=asked, tasks=alone, shortfall=""))
    last: list[ev.Instruction] = []
    for index in range(tasks):
        commit(run, *ALONE, task=f"task-000{index}")
        judge(run, win(f"task-000{index}", TaskState.PROVISIONAL), task=f"task-000{index}", now=1)
        last = run.handle(ev.ResultKept(now=2, task=f"task-000{index}"))
    return run, last


def accepted(run: JobRun, *verdicts: Verdict, asked: tuple[str, ...] = ("task-0000",)) -> list[ev.Instruction]:
    return run.handle(ev.Accepted(now=3, asked=asked, verdicts=verdicts))


def open_again(task: str = "task-0000") -> Verdict:
    return Verdict(task=task, state=TaskState.OPEN, committed=1, outstanding=0, wanted=1)


def test_one_commitment_is_asked_after_where_nobody_else_may_commit() -> None:
    run = started(1, POLICY)
    run.handle(ev.Bought(now=0, asked=(name(0),), tasks=(bought("task-0000", ALONE),), shortfall=""))
    assert kinds(commit(run, *ALONE, task="task-0000")) == [ev.AskVerdicts]


def test_a_phase_ends_when_its_provisional_wins_are_accepted() -> None:
    run, last = delivered(2)
    assert only(ev.Accept, last) == ev.Accept(tasks=("task-0000", "task-0001"))
    assert run.count(Step.ACCEPTING) == 2
    assert ev.Accept not in kinds(run.handle(ev.TimerRang(now=2.5)))
    done = accepted(
        run, win("task-0000", TaskState.WON), win("task-0001", TaskState.SETTLED), asked=("task-0000", "task-0001")
    )
    assert only(ev.StartReduce, done) == ev.StartReduce()
    late = run.handle(ev.Judged(now=4, asked=("task-0000",), verdicts=(win("task-0000", TaskState.WON),)))
    assert ev.StartReduce not in kinds(late)
    run.handle(ev.PhasePlanned(now=5, tasks=(name(0, Phase.REDUCE),)))
    assert [str(task.name) for task in run.history()] == ["map task 1", "map task 2", "reduce task 1"]
    assert run.history()[2].purchases == ()


def test_a_task_that_is_opened_again_is_extended_and_what_was_delivered_stands_if_it_wins() -> None:
    run, _ = delivered()
    extend = only(ev.Extend, accepted(run, open_again()))
    assert [(order.task, order.replicas) for order in extend.orders] == [("task-0000", 1)]
    run.handle(ev.Added(now=4, asked=extend.tasks, tasks=(bought("task-0000", ("worker-b",)),), shortfall=""))
    assert kinds(commit(run, "worker-b", task="task-0000")) == [ev.AskVerdicts]
    end = judge(run, win("task-0000", TaskState.WON, winners=("worker-a", "worker-b")), task="task-0000")
    assert ev.Fetch not in kinds(end)
    assert only(ev.StartReduce, end) == ev.StartReduce()


def test_a_different_final_win_is_fetched_instead() -> None:
    run, _ = delivered()
    extend = only(ev.Extend, accepted(run, open_again()))
    run.handle(ev.Added(now=4, asked=extend.tasks, tasks=(bought("task-0000", ("worker-b",)),), shortfall=""))
    commit(run, "worker-b", task="task-0000")
    other = win("task-0000", TaskState.PROVISIONAL, digest=b"e" * 32, winners=("worker-b",))
    assert only(ev.Fetch, judge(run, other, task="task-0000")).replica.worker == "worker-b"
    assert only(ev.Accept, run.handle(ev.ResultKept(now=6, task="task-0000"))).tasks == ("task-0000",)
    done = accepted(run, attrs.evolve(other, state=TaskState.WON))
    assert only(ev.StartReduce, done) == ev.StartReduce()


def test_a_task_accepted_with_another_result_is_fetched_again() -> None:
    run, _ = delivered()
    other = win("task-0000", TaskState.WON, digest=b"e" * 32, winners=ALONE)
    assert kinds(accepted(run, other))[0] is ev.Fetch
    assert only(ev.StartReduce, run.handle(ev.ResultKept(now=6, task="task-0000"))) == ev.StartReduce()


@pytest.mark.parametrize("known", [(), (attrs.evolve(open_again(), state=TaskState.LAPSED),)])
def test_a_forgotten_or_expired_task_is_bought_again(known: tuple[Verdict, ...]) -> None:
    run, _ = delivered()
    assert only(ev.Buy, accepted(run, *known)).tasks == (name(0),)
    run.handle(ev.Bought(now=4, asked=(name(0),), tasks=(bought("task-0009", ALONE),), shortfall=""))
    commit(run, *ALONE, task="task-0009")
    # The same digest of another purchase is under another key: nothing that was delivered stands.
    assert ev.Fetch in kinds(judge(run, win("task-0009", TaskState.WON), task="task-0009"))


def test_news_of_tasks_that_are_accepted_is_stale() -> None:
    run, _ = delivered()
    assert commit(run, "worker-b", task="task-0000") == []
    accepted(run, asked=("task-0007",))
    assert run.count(Step.ACCEPTING) == 1


def test_many_provisional_wins_are_accepted_before_the_phase_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "MANY_PROVISIONAL", 2)
    run = started(4, POLICY)
    asked = tuple(map(name, range(4)))
    alone = tuple(bought(f"task-000{index}", ALONE) for index in range(4))
    run.handle(ev.Bought(now=0, asked=asked, tasks=alone, shortfall=""))
    last: list[ev.Instruction] = []
    for index in range(3):
        commit(run, *ALONE, task=f"task-000{index}")
        judge(run, win(f"task-000{index}", TaskState.PROVISIONAL), task=f"task-000{index}", now=1)
        last = run.handle(ev.ResultKept(now=2, task=f"task-000{index}"))
    assert only(ev.Accept, last).tasks == ("task-0000", "task-0001", "task-0002")
    assert run.count(Step.RUNNING) == 1


def test_acceptances_go_in_batches_one_after_the_other() -> None:
    run, last = delivered(MAX_BATCH + 1)
    check = only(ev.Extend, last)
    first = only(ev.Accept, run.handle(ev.Added(now=2, asked=check.tasks, tasks=(), shortfall=""))).tasks
    assert len(first) == MAX_BATCH
    won = tuple(win(task, TaskState.WON) for task in first)
    assert only(ev.Accept, accepted(run, *won, asked=first)).tasks == (f"task-000{MAX_BATCH}",)


def test_a_provisional_win_is_accepted_before_its_deadline_does_it_unseen() -> None:
    run = started(3, POLICY)
    tasks = (bought("task-0000", ALONE), bought("task-0001", ALONE, deadline_s=500.0), bought("task-0002"))
    run.handle(ev.Bought(now=0, asked=tuple(map(name, range(3))), tasks=tasks, shortfall=""))
    for index in range(2):
        commit(run, *ALONE, task=f"task-000{index}")
        judge(run, win(f"task-000{index}", TaskState.PROVISIONAL), task=f"task-000{index}", now=1)
    run.handle(ev.TimerRang(now=2.0))  # the watch
    at = 100 - min(ACCEPT_AHEAD_S, 25.0)
    assert only(ev.Wake, run.handle(ev.ResultKept(now=2, task="task-0000"))).at == at
    assert run.handle(ev.ResultKept(now=2, task="task-0001")) == []
    assert ev.Accept not in kinds(run.handle(ev.TimerRang(now=at - 1)))
    assert only(ev.Accept, run.handle(ev.TimerRang(now=at))).tasks == ("task-0000",)
    assert ev.Accept not in kinds(run.handle(ev.TimerRang(now=at)))
    rest = run.handle(ev.Accepted(now=at, asked=("task-0000",), verdicts=(win("task-0000", TaskState.WON),)))
    assert only(ev.Wake, rest).at == 500 - ACCEPT_AHEAD_S
