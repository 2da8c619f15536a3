"""The foreman's state machine: events in, instructions out, no network."""

from typing import TypeVar

import pytest

from ec262.domain.errors import InsufficientCredits, NoEligibleWorkers, TaskAbandoned, TaskLimitExceeded
from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.job_state import SELDOM
from ec262.domain.foreman.run.pace import SHARE
from ec262.domain.foreman.run.purchase_retry import MAX_RETRY_S
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.foreman.run.running_task import Step, TaskBoard
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.foreman_calls import BoughtReplica, BoughtTask, Verdict, Winner
from ec262.domain.protocol.limits import MAX_BATCH
from ec262.domain.verification.rules import Majority
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import Phase, TaskName

T = TypeVar("T")

POLICY = RunPolicy(rule=Majority(replicas=3, quorum=2), attempts=2, patience_s=10)
WORKERS = ("worker-a", "worker-b", "worker-c")


def name(index: int, phase: Phase = Phase.MAP) -> TaskName:
    return TaskName(phase=phase, index=index)


def bought(task: str, workers: tuple[str, ...] = WORKERS, deadline_s: float = 100.0) -> BoughtTask:
    replicas = tuple(
        BoughtReplica(
            worker=worker,
            address=WorkerAddress(host="127.0.0.1", port=1 + number, fingerprint="0" * 64),
            secret=b"s" * 32,
        )
        for number, worker in enumerate(workers)
    )
    return BoughtTask(task=task, deadline_s=deadline_s, replicas=replicas)


def verdict(task: str, state: TaskState = TaskState.WON, winners: tuple[str, ...] = WORKERS[:2]) -> Verdict:
    if state is not TaskState.WON:
        return Verdict(task=task, state=state, committed=2, outstanding=1)
    return Verdict(
        task=task,
        state=state,
        committed=2,
        outstanding=0,
        key=b"k" * 32,
        digest=b"d" * 32,
        winners=tuple(Winner(worker=worker, delivery_secret=b"w" * 32) for worker in winners),
    )


def only(kind: type[T], instructions: list[ev.Instruction]) -> T:
    """Return the one instruction of a kind."""
    found = [instruction for instruction in instructions if isinstance(instruction, kind)]
    assert len(found) == 1, instructions
    return found[0]


def kinds(instructions: list[ev.Instruction]) -> list[type]:
    return [type(instruction) for instruction in instructions]


class Harmonious(JobRun):
    """A run whose results never clash."""

    def handle(self, event: ev.Event) -> list[ev.Instruction]:
        instructions = super().handle(event)
        if not any(isinstance(instruction, ev.CheckPhase) for instruction in instructions):
            return instructions
        others = [instruction for instruction in instructions if not isinstance(instruction, ev.CheckPhase)]
        return [*others, *self.handle(ev.PhaseChecked(now=event.now))]


def started(tasks: int = 1, policy: RunPolicy = POLICY) -> JobRun:
    run = Harmonious(policy)
    run.handle(ev.PhasePlanned(now=0, tasks=tuple(name(index) for index in range(tasks))))
    return run


def running(policy: RunPolicy = POLICY) -> JobRun:
    """Return a run with its one map task "task-0001" dispatched at time 0."""
    run = started(policy=policy)
    run.handle(ev.Bought(now=0, asked=(name(0),), tasks=(bought("task-0001"),), shortfall=""))
    return run


def commit(run: JobRun, *workers: str, task: str = "task-0001") -> list[ev.Instruction]:
    instructions: list[ev.Instruction] = []
    for worker in workers:
        instructions += run.handle(ev.ReplicaCommitted(now=1, task=task, worker=worker))
    return instructions


def end(run: JobRun, *workers: str, task: str = "task-0001") -> list[ev.Instruction]:
    instructions: list[ev.Instruction] = []
    for worker in workers:
        instructions += run.handle(ev.ReplicaEnded(now=1, task=task, worker=worker, reason="gone"))
    return instructions


def judge(run: JobRun, *verdicts: Verdict, task: str = "task-0001", now: float = 2) -> list[ev.Instruction]:
    """Answer a question that was asked with all that the run has heard."""
    attempt = run._tasks._by_id[task].attempt if task in run._tasks._by_id else None
    heard = attempt.heard if attempt else 0
    return run.handle(ev.Judged(now=now, asked=(task,), heard=(heard,), verdicts=verdicts))


def test_a_job_from_its_first_purchase_to_its_end() -> None:
    run = JobRun(POLICY)
    buy = only(ev.Buy, run.handle(ev.PhasePlanned(now=0, tasks=(name(0),))))
    assert buy == ev.Buy(tasks=(name(0),), rule="majority:3:2", avoid=())
    dispatches = run.handle(ev.Bought(now=0, asked=buy.tasks, tasks=(bought("task-0001"),), shortfall=""))
    assert kinds(dispatches) == [ev.Dispatch] * 3 + [ev.Wake]
    assert commit(run, "worker-a") == []
    assert commit(run, "worker-b") == [ev.AskVerdicts(tasks=("task-0001",), heard=(2,))]
    fetch = only(ev.Fetch, judge(run, verdict("task-0001")))
    assert (fetch.name, fetch.replica.worker) == (name(0), "worker-a")
    assert run.handle(ev.ResultKept(now=3, task="task-0001")) == [ev.StartReduce()]
    reduce_buy = only(ev.Buy, run.handle(ev.PhasePlanned(now=4, tasks=(name(0, Phase.REDUCE),))))
    assert run.phase is Phase.REDUCE
    run.handle(ev.Bought(now=4, asked=reduce_buy.tasks, tasks=(bought("task-0002"),), shortfall=""))
    commit(run, "worker-a", "worker-c", task="task-0002")
    judge(run, verdict("task-0002"), task="task-0002")
    assert run.handle(ev.ResultKept(now=6, task="task-0002")) == [ev.Finish()]
    assert run.handle(ev.TimerRang(now=7)) == []


def test_a_phase_without_tasks_is_the_end() -> None:
    assert JobRun(POLICY).handle(ev.PhasePlanned(now=0, tasks=())) == [ev.Finish()]


def test_the_map_phase_waits_for_its_last_task() -> None:
    run = started(2)
    run.handle(
        ev.Bought(now=0, asked=(name(0), name(1)), tasks=(bought("task-0001"), bought("task-0002")), shortfall="")
    )
    commit(run, "worker-a", "worker-b")
    judge(run, verdict("task-0001"))
    assert run.handle(ev.ResultKept(now=3, task="task-0001")) == []
    assert run.count(Step.DONE) == 1


def test_a_growing_phase_ends_with_the_last_announced_task() -> None:
    run = running()
    assert only(ev.Buy, run.handle(ev.PhaseGrew(now=1, tasks=(name(1),)))).tasks == (name(1),)
    commit(run, "worker-a", "worker-b")
    judge(run, verdict("task-0001"))
    assert only(ev.Wake, run.handle(ev.PhaseGrew(now=2, tasks=(name(2),)))), "bought when it is known who is free"
    assert run.handle(ev.ResultKept(now=3, task="task-0001")) == []
    bought_now = run.handle(ev.Bought(now=3, asked=(name(1),), tasks=(bought("task-0002"),), shortfall=""))
    assert only(ev.Buy, bought_now).tasks == (name(2),)
    assert [task.name for task in run.history()] == [name(0), name(1), name(2)]


def test_more_tasks_than_a_call_may_buy_are_bought_in_several() -> None:
    run = JobRun(POLICY)
    names = tuple(name(index) for index in range(MAX_BATCH + 1))
    buy = only(ev.Buy, run.handle(ev.PhasePlanned(now=0, tasks=names)))
    assert buy.tasks == names[:MAX_BATCH]
    tasks = tuple(bought(f"task-000{index}") for index in range(MAX_BATCH))
    assert only(ev.Buy, run.handle(ev.Bought(now=1, asked=buy.tasks, tasks=tasks, shortfall=""))).tasks == names[-1:]


def test_more_tasks_than_a_call_may_ask_after_are_asked_after_in_several() -> None:
    run = JobRun(POLICY)
    names = tuple(name(index) for index in range(MAX_BATCH + 2))
    run.handle(ev.PhasePlanned(now=0, tasks=names))
    ids = [f"task-{index:04}" for index in range(MAX_BATCH + 2)]
    for start in (0, MAX_BATCH):
        asked, ids_asked = names[start : start + MAX_BATCH], ids[start : start + MAX_BATCH]
        run.handle(ev.Bought(now=0, asked=asked, tasks=tuple(map(bought, ids_asked)), shortfall=""))
    watch = only(ev.AskVerdicts, run.handle(ev.TimerRang(now=9)))
    assert watch.tasks == tuple(ids[:MAX_BATCH]), "the others' turn comes"
    run.handle(ev.ReplicaCommitted(now=10, task=ids[0], worker="worker-a"))
    run.handle(ev.ReplicaCommitted(now=10, task=ids[0], worker="worker-b"))
    for task in ids[1:]:
        run.handle(ev.ReplicaCommitted(now=10, task=task, worker="worker-a"))
        run.handle(ev.ReplicaCommitted(now=10, task=task, worker="worker-b"))
    questions = [each for each in run.handle(ev.TimerRang(now=20)) if isinstance(each, ev.AskVerdicts)]
    assert [len(question.tasks) for question in questions] == [MAX_BATCH, 1]
    assert [question.heard for question in questions] == [(2,) * MAX_BATCH, (2,)]


def test_unassigned_tasks_are_retried_after_growing_pauses() -> None:
    run = started(2)
    instructions = run.handle(
        ev.Bought(now=0, asked=(name(0), name(1)), tasks=(bought("task-0001"),), shortfall="too few")
    )
    assert only(ev.Wake, instructions).at == pytest.approx(POLICY.retry_s)
    assert run.handle(ev.TimerRang(now=0.1)) == [ev.Wake(at=POLICY.retry_s)]
    pauses, now = [], 0.0
    for _ in range(8):
        now += MAX_RETRY_S
        assert only(ev.Buy, run.handle(ev.TimerRang(now=now))).tasks == (name(1),)
        run.handle(ev.Bought(now=now, asked=(name(1),), tasks=(), shortfall="too few"))
        pauses.append(run._purchases._tasks_retry.pause_s)
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_RETRY_S


def test_a_win_frees_slots_and_so_buys_what_is_wanted() -> None:
    run = started(2)
    run.handle(ev.Bought(now=0, asked=(name(0), name(1)), tasks=(bought("task-0001"),), shortfall="too few"))
    commit(run, "worker-a", "worker-b")
    assert kinds(judge(run, verdict("task-0001"), now=0.1))[:2] == [ev.Fetch, ev.Buy]


def pair_running() -> JobRun:
    """Return a run of three map tasks, of which "task-0001" and "task-0002" were dispatched at time 0."""
    run = started(3)
    asked = (name(0), name(1), name(2))
    run.handle(ev.Bought(now=0, asked=asked, tasks=(bought("task-0001"), bought("task-0002")), shortfall="too few"))
    return run


def wake(instructions: list[ev.Instruction]) -> float:
    return only(ev.Wake, instructions).at


def test_questions_gather_for_a_share_of_the_time_that_tasks_take() -> None:
    run = started(4)
    tasks = tuple(bought(f"task-000{number}") for number in range(4))
    run.handle(ev.Bought(now=0, asked=tuple(map(name, range(4))), tasks=tasks, shortfall=""))
    run.handle(ev.TimerRang(now=9))  # the watch is on

    def both(task: str, now: float) -> list[ev.Instruction]:
        run.handle(ev.ReplicaCommitted(now=now, task=task, worker="worker-a"))
        return run.handle(ev.ReplicaCommitted(now=now, task=task, worker="worker-b"))

    assert both("task-0000", 10) == [ev.AskVerdicts(tasks=("task-0000",), heard=(2,))]
    ask_at = 10 + SHARE * 10
    assert wake(both("task-0001", 10.1)) == ask_at
    assert wake(both("task-0002", 10.2)) == ask_at
    third = run.handle(ev.ReplicaCommitted(now=10.3, task="task-0001", worker="worker-c"))
    assert wake(third) == ask_at
    ask = only(ev.AskVerdicts, run.handle(ev.TimerRang(now=ask_at)))
    assert ask == ev.AskVerdicts(tasks=("task-0001", "task-0002"), heard=(3, 2))


def test_nothing_is_gathered_for_where_all_tasks_are_ripe() -> None:
    run = started(2)
    run.handle(
        ev.Bought(now=0, asked=(name(0), name(1)), tasks=(bought("task-0001"), bought("task-0002")), shortfall="")
    )
    assert kinds(commit(run, "worker-a", "worker-b")) == [ev.AskVerdicts]
    judge(run, verdict("task-0001"), now=1)
    assert kinds(commit(run, "worker-a", "worker-b", task="task-0002")) == [ev.AskVerdicts]


def test_a_task_that_has_already_won_is_not_queried() -> None:
    run = pair_running()
    commit(run, "worker-a", "worker-b")
    assert kinds(commit(run, "worker-a", "worker-b", task="task-0002")) == [ev.Wake]
    judge(run, verdict("task-0002"), task="task-0002", now=1)
    run.handle(ev.TimerRang(now=1.2))
    assert kinds(run.handle(ev.TimerRang(now=1.3))) == [ev.Wake]


def test_slots_that_become_free_soon_after_each_other_are_bought_together() -> None:
    run = pair_running()
    commit(run, "worker-a", "worker-b")  # a task takes a second
    assert kinds(judge(run, verdict("task-0001"), now=1)) == [ev.Fetch, ev.Buy, ev.Wake]
    run.handle(ev.Bought(now=1, asked=(name(2),), tasks=(), shortfall="too few"))
    again = judge(run, verdict("task-0002"), task="task-0002", now=1.01)
    assert ev.Buy in kinds(again)  # nobody runs: there is nothing to wait for

    run = pair_running()
    commit(run, "worker-a", "worker-b")
    run._tasks.move(run._tasks[name(2)], "buy")
    run._purchases._buy_from = 1.1
    run.handle(ev.Bought(now=1, asked=(name(2),), tasks=(), shortfall="too few"))
    assert kinds(judge(run, verdict("task-0001"), now=1.01)) == [ev.Fetch, ev.Wake]
    assert run._purchases._tasks_retry.at == 1.1
    assert only(ev.Buy, run.handle(ev.TimerRang(now=1.1))).tasks == (name(2),)


def test_while_tasks_run_slots_of_others_are_looked_for_seldom() -> None:
    run = pair_running()
    for worker in WORKERS:
        run.handle(ev.ReplicaCommitted(now=100, task="task-0001", worker=worker))
    run._tasks.move(run._tasks[name(2)], "buy")
    run.handle(ev.Bought(now=100, asked=(name(2),), tasks=(), shortfall="too few"))
    assert run._purchases._tasks_retry.at == 100 + SELDOM * SHARE * 100


def test_a_watch_follows_another_after_a_pause() -> None:
    run = running()
    assert only(ev.AskVerdicts, run.handle(ev.TimerRang(now=POLICY.poll_s))).heard is None
    assert ev.AskVerdicts not in kinds(run.handle(ev.TimerRang(now=50)))
    still = Verdict(task="task-0001", state=TaskState.OPEN, committed=0, outstanding=3)
    answered = run.handle(ev.Judged(now=60, asked=("task-0001",), verdicts=(still,)))
    assert wake(answered) == 60 + POLICY.poll_s
    assert only(ev.AskVerdicts, run.handle(ev.TimerRang(now=60 + POLICY.poll_s))).heard is None


def test_a_watch_is_replaced_when_there_is_more_to_watch() -> None:
    run = started(2)
    run.handle(ev.Bought(now=0, asked=(name(0), name(1)), tasks=(bought("task-0001"),), shortfall="too few"))
    assert only(ev.AskVerdicts, run.handle(ev.TimerRang(now=POLICY.poll_s))).tasks == ("task-0001",)
    run.handle(ev.Bought(now=5, asked=(name(1),), tasks=(bought("task-0002"),), shortfall=""))
    again = run.handle(ev.TimerRang(now=5 + POLICY.poll_s))
    assert only(ev.AskVerdicts, again).tasks == ("task-0001", "task-0002")


def test_a_watch_that_tells_of_the_end_without_a_win_ends_the_purchase_unless_the_workers_do_before_the_next() -> None:
    over = Verdict(task="task-0001", state=TaskState.OPEN, committed=1, outstanding=0)
    watched = ev.Judged(now=60, asked=("task-0001",), verdicts=(over,))
    silent = running()
    assert kinds(silent.handle(watched)) == [ev.Wake]
    assert ev.Buy in kinds(silent.handle(watched))
    late = running()
    assert kinds(late.handle(watched)) == [ev.Wake]
    assert ev.AskVerdicts in kinds(end(late, "worker-a", "worker-b"))


def test_a_job_without_workers_for_too_long_ends_with_the_reason() -> None:
    run = started()
    run.handle(ev.Bought(now=0, asked=(name(0),), tasks=(), shortfall="3 workers needed, 1 there"))
    run.handle(ev.TimerRang(now=5))
    assert kinds(run.handle(ev.Bought(now=5, asked=(name(0),), tasks=(), shortfall="x"))) == [ev.Wake]
    run.handle(ev.TimerRang(now=11))
    fail = only(ev.Fail, run.handle(ev.Bought(now=11, asked=(name(0),), tasks=(), shortfall="only 1 there")))
    assert isinstance(fail.error, NoEligibleWorkers)
    assert "only 1 there" in str(fail.error)


def test_too_poor_with_nothing_to_come_back_ends_the_job() -> None:
    fail = only(ev.Fail, started().handle(ev.TooPoor(now=0, asked=(name(0),), have=2, need=3)))
    assert isinstance(fail.error, InsufficientCredits)
    assert (fail.error.have, fail.error.need) == (2, 3)


def test_too_poor_to_buy_again_waits_for_the_refund() -> None:
    run = running()
    end(run, *WORKERS)
    judge(run, verdict("task-0001", TaskState.OPEN))
    instructions = run.handle(ev.TooPoor(now=3, asked=(name(0),), have=0, need=3))
    assert kinds(instructions) == [ev.Wake]
    refund_at = 100 + POLICY.grace_s
    assert only(ev.Buy, run.handle(ev.TimerRang(now=refund_at))).tasks == (name(0),)
    fail = only(ev.Fail, run.handle(ev.TooPoor(now=refund_at, asked=(name(0),), have=0, need=3)))
    assert "bought again" in str(fail.error)


def test_a_lost_worker_is_made_up_for_by_the_others() -> None:
    run = running()
    assert end(run, "worker-a") == []
    assert commit(run, "worker-b") == []
    assert kinds(commit(run, "worker-c")) == [ev.AskVerdicts]
    assert kinds(judge(run, verdict("task-0001", winners=("worker-b", "worker-c"))))[0] is ev.Fetch


def test_a_liar_among_three_is_waited_out() -> None:
    run = running()
    commit(run, "worker-a", "worker-b")
    assert judge(run, verdict("task-0001", TaskState.OPEN)) == []
    assert kinds(commit(run, "worker-c")) == [ev.AskVerdicts]
    assert kinds(judge(run, verdict("task-0001", winners=("worker-a", "worker-c"))))[0] is ev.Fetch


def test_two_lost_workers_lose_the_task_which_is_bought_again_from_others() -> None:
    run = running()
    end(run, "worker-a")
    assert kinds(end(run, "worker-b")) == [ev.AskVerdicts]
    buy = only(ev.Buy, judge(run, Verdict(task="task-0001", state=TaskState.OPEN, committed=0, outstanding=3)))
    assert buy == ev.Buy(tasks=(name(0),), rule="majority:3:2", avoid=WORKERS)


def test_the_one_that_committed_is_not_avoided() -> None:
    run = running()
    commit(run, "worker-c")
    end(run, "worker-a")
    end(run, "worker-b")
    buy = only(ev.Buy, judge(run, Verdict(task="task-0001", state=TaskState.OPEN, committed=1, outstanding=2)))
    assert buy.avoid == ("worker-a", "worker-b")


def test_three_different_results_are_bought_again_avoiding_all() -> None:
    run = running()
    commit(run, *WORKERS)
    assert only(ev.Buy, judge(run, verdict("task-0001", TaskState.OPEN))).avoid == WORKERS


def test_a_commitment_counts_even_if_its_worker_is_lost_afterwards() -> None:
    run = running()
    commit(run, "worker-a")
    assert end(run, "worker-a") == []
    assert kinds(commit(run, "worker-b")) == [ev.AskVerdicts]


def test_a_task_is_given_up_after_as_many_purchases_as_allowed_with_every_replicas_fate() -> None:
    run = running()
    end(run, *WORKERS)
    judge(run, verdict("task-0001", TaskState.OPEN))
    run.handle(ev.Bought(now=3, asked=(name(0),), tasks=(bought("task-0002"),), shortfall=""))
    commit(run, "worker-a", task="task-0002")
    end(run, "worker-b", task="task-0002")
    fail = only(ev.Fail, judge(run, verdict("task-0002", TaskState.REFUNDED), task="task-0002"))
    assert isinstance(fail.error, TaskAbandoned)
    assert fail.error.attempts == 2
    history = "\n".join(fail.error.history)
    assert history.count("gone") == 4
    assert "committed a result" in history
    assert "gave no result" in history
    assert str(fail.error).startswith("map task 1 was bought 2 times")


@pytest.mark.parametrize(
    ("heard", "counted", "hinted"),
    [((), 0, False), (("worker-a",), 1, False), (WORKERS, 3, True), ((), 3, True), (("worker-a", "worker-b"), 0, True)],
)
def test_functions_are_suspected_only_where_results_could_differ(
    heard: tuple[str, ...],
    counted: int,
    hinted: bool,  # noqa: FBT001 - drawn
) -> None:
    run = running()
    for task in ("task-0001", "task-0002"):
        commit(run, *heard, task=task)
        end(run, *(worker for worker in WORKERS if worker not in heard), task=task)
        told = Verdict(task=task, state=TaskState.OPEN, committed=counted, outstanding=0)
        instructions = judge(run, told, task=task)
        if ev.Dispute in kinds(instructions):
            instructions = run.handle(ev.Diagnosed(now=3, task=task, verdict=told, diagnosis=None))
        run.handle(ev.Bought(now=3, asked=(name(0),), tasks=(bought("task-0002"),), shortfall=""))
    fail = only(ev.Fail, instructions)
    assert ("the functions give different results" in str(fail.error)) == hinted


def test_silence_until_the_deadline_loses_the_task() -> None:
    run = running()
    assert only(ev.AskVerdicts, run.handle(ev.TimerRang(now=99))).tasks == ("task-0001",)
    assert judge(run, verdict("task-0001", TaskState.OPEN), now=99) == []
    assert ev.Buy in kinds(judge(run, verdict("task-0001", TaskState.OPEN), now=100))


def test_an_answer_to_an_older_question_does_not_lose_the_task() -> None:
    run = running()
    question = only(ev.AskVerdicts, commit(run, "worker-a", "worker-b"))
    last = only(ev.AskVerdicts, commit(run, "worker-c"))
    nothing_yet = Verdict(task="task-0001", state=TaskState.OPEN, committed=0, outstanding=3)
    for heard, then in ((None, [ev.Wake]), (question.heard, [])):
        judged = ev.Judged(now=2, asked=("task-0001",), heard=heard, verdicts=(nothing_yet,))
        assert kinds(run.handle(judged)) == then
    won = ev.Judged(now=2, asked=("task-0001",), heard=last.heard, verdicts=(verdict("task-0001"),))
    assert kinds(run.handle(won))[0] is ev.Fetch


def test_a_task_that_discovery_forgot_is_lost() -> None:
    assert ev.Buy in kinds(judge(running()))


def test_a_win_that_no_worker_reported_is_found_by_watching() -> None:
    run = running()
    assert only(ev.AskVerdicts, run.handle(ev.TimerRang(now=POLICY.poll_s))).tasks == ("task-0001",)
    assert run.handle(ev.TimerRang(now=9)) == []  # one watch at a time
    seen = ev.Judged(now=10, asked=("task-0001",), verdicts=(verdict("task-0001"),))
    assert kinds(run.handle(seen)) == [ev.Fetch, ev.Wake]
    assert run.handle(ev.TimerRang(now=10 + POLICY.poll_s)) == []  # nothing is left to watch


def test_the_watch_goes_on_after_its_answer() -> None:
    run = running()
    run.handle(ev.TimerRang(now=POLICY.poll_s))
    assert run.handle(ev.Judged(now=10, asked=("task-0001",), verdicts=(verdict("task-0001", TaskState.OPEN),))) == [
        ev.Wake(at=10 + POLICY.poll_s)
    ]
    assert ev.AskVerdicts in kinds(run.handle(ev.TimerRang(now=10 + POLICY.poll_s)))


def won(run: JobRun) -> None:
    commit(run, "worker-a", "worker-b")
    only(ev.Fetch, judge(run, verdict("task-0001")))


def test_a_limit_that_has_won_is_the_jobs_failure() -> None:
    run = running()
    won(run)
    error = TaskLimitExceeded(task="map task 1", limit="cpu", detail="5 s")
    assert only(ev.Fail, run.handle(ev.CodeFailed(now=3, task="task-0001", error=error))).error == error


def test_a_crash_that_won_has_the_task_bought_again_as_often_as_allowed() -> None:
    run = running()
    won(run)
    crashed = ev.Crashed(now=3, task="task-0001", detail="exit status 3")
    buy = only(ev.Buy, run.handle(crashed))
    assert buy.tasks == (name(0),)
    assert run.handle(crashed) == [], "news may be stale"
    run.handle(ev.Bought(now=4, asked=buy.tasks, tasks=(bought("task-0002"),), shortfall=""))
    commit(run, "worker-a", "worker-b", task="task-0002")
    judge(run, verdict("task-0002"), task="task-0002")
    fail = only(ev.Fail, run.handle(ev.Crashed(now=5, task="task-0002", detail="exit status 3")))
    assert isinstance(fail.error, TaskAbandoned)
    assert "its process crashed: exit status 3" in str(fail.error)


def test_a_winner_that_does_not_deliver_is_replaced_by_another() -> None:
    run = running()
    commit(run, "worker-a", "worker-b")
    judge(run, verdict("task-0001"))
    again = run.handle(ev.Undelivered(now=3, task="task-0001", worker="worker-a", reason="refused"))
    assert only(ev.Fetch, again).replica.worker == "worker-b"
    lost = run.handle(ev.Undelivered(now=4, task="task-0001", worker="worker-b", reason="refused"))
    assert set(only(ev.Buy, lost).avoid) == set(WORKERS)


def test_a_winner_that_did_not_deliver_is_asked_last_the_next_time() -> None:
    run = started(2)
    run.handle(
        ev.Bought(now=0, asked=(name(0), name(1)), tasks=(bought("task-0001"), bought("task-0002")), shortfall="")
    )
    assert only(ev.Fetch, judge(run, verdict("task-0001"))).replica.worker == "worker-a"
    run.handle(ev.Undelivered(now=3, task="task-0001", worker="worker-a", reason="refused"))
    assert only(ev.Fetch, judge(run, verdict("task-0002"), task="task-0002")).replica.worker == "worker-b"


def test_a_won_task_that_was_never_delivered_gives_nothing_back_to_wait_for() -> None:
    run = running()
    commit(run, "worker-a", "worker-b")
    judge(run, verdict("task-0001", winners=("worker-a",)))
    run.handle(ev.Undelivered(now=3, task="task-0001", worker="worker-a", reason="refused"))
    assert kinds(run.handle(ev.TooPoor(now=4, asked=(name(0),), have=0, need=3))) == [ev.Fail]


def test_stale_news_is_ignored() -> None:
    run = running()
    assert commit(run, "worker-a", task="unknown") == []
    assert end(run, "worker-a", task="unknown") == []
    assert judge(run, task="unknown") == []
    assert run.handle(ev.ResultKept(now=1, task="task-0001")) == []
    assert run.handle(ev.Undelivered(now=1, task="task-0001", worker="worker-a", reason="")) == []
    end(run, *WORKERS)
    judge(run, verdict("task-0001", TaskState.OPEN))
    assert commit(run, "worker-a") == []


def test_a_transition_that_is_not_in_the_table_is_an_error() -> None:
    board = TaskBoard([name(0)])
    with pytest.raises(AssertionError, match="has no transition 'won'"):
        board.move(board[name(0)], "won")


def test_one_sequence_of_events_gives_one_trace() -> None:
    def trace() -> list[list[ev.Instruction]]:
        run = JobRun(POLICY)
        return [
            run.handle(ev.PhasePlanned(now=0, tasks=(name(0),))),
            run.handle(ev.Bought(now=0, asked=(name(0),), tasks=(bought("task-0001"),), shortfall="")),
            end(run, *WORKERS),
            judge(run, verdict("task-0001", TaskState.OPEN)),
        ]

    assert trace() == trace()


def test_a_board_counts_its_tasks_by_state() -> None:
    board = TaskBoard([name(0), name(1)])
    board.move(board[name(1)], "buy")
    assert board.count(Step.WANTED) == board.count(Step.BUYING) == 1
    assert board.count(*Step) == len(board) == 2
