import attrs
import pytest

from ec262.domain.foreman.receipts import JobReceipt, TaskReceipt, job_receipt, recheck
from ec262.domain.foreman.run.job_history import Purchased, ReplicaHistory, TaskHistory
from ec262.domain.protocol.foreman_calls import Verdict, Vote
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import Phase, TaskName

RIGHT, WRONG = b"r" * 32, b"w" * 32


def vote(worker: str, digest: bytes = RIGHT, agreed: float = 0.0) -> Vote:
    return Vote(worker=worker, digest=digest, agreed=agreed, recent=agreed)


def receipt(
    rule: str, *votes: Vote, digest: bytes | None = RIGHT, state: TaskState = TaskState.WON, **more: object
) -> TaskReceipt:
    task = TaskReceipt(
        name="map task 1",
        task="t" * 16,
        rule=rule,
        replicas=max(3, len(votes)),
        state=state,
        digest=digest,
        votes=votes,
        confidence=0.94,
    )
    return attrs.evolve(task, **more)  # type: ignore[arg-type] # the fields of the receipt


def job(*tasks: TaskReceipt) -> JobReceipt:
    return JobReceipt(verify="majority:3", seed=0, tasks=tasks)


@pytest.mark.parametrize(
    ("rule", "votes", "audited"),
    [
        ("majority:3:2", [vote("a"), vote("b")], False),
        ("majority:3:2", [vote("a", WRONG), vote("b"), vote("c")], False),
        ("majority:3:2", [vote("a"), vote("b"), vote("c", WRONG)], False),
        ("quorum:2", [vote("a"), vote("b", WRONG), vote("c", WRONG + b""), vote("d")], False),
        ("error:1e-2", [vote("a", agreed=50.0)], False),
        ("error:1e-2", [vote("a", agreed=50.0), vote("b", agreed=50.0)], True),
        ("error:1e-2", [vote("a", agreed=50.0), vote("b", WRONG), vote("c", agreed=50.0)], True),
    ],
)
def test_a_verdict_can_be_checked_again(rule: str, votes: list[Vote], *, audited: bool) -> None:
    digest = WRONG if rule == "quorum:2" else RIGHT
    assert recheck(job(receipt(rule, *votes, digest=digest, audited=audited)), rule) == []


@pytest.mark.parametrize(
    ("task", "doubt"),
    [
        (receipt("majority:3:2", vote("a")), "do not satisfy"),
        (receipt("majority:3:2", vote("a"), vote("a")), "voted twice"),
        (receipt("majority:3:2", vote("a", WRONG), vote("b", WRONG)), "another digest"),
        (receipt("error:1e-2", vote("a")), "do not satisfy"),
        (receipt("error:1e-2", vote("a", agreed=50.0), audited=True), "do not satisfy"),
        (receipt("quorum:2"), "do not satisfy"),
        (receipt("dice", vote("a")), "unknown verification rule"),
    ],
)
def test_verdicts_that_do_not_follow_are_named(task: TaskReceipt, doubt: str) -> None:
    (sentence,) = recheck(job(task), task.rule)
    assert "map task 1" in sentence
    assert doubt in sentence


def test_a_task_counts_once() -> None:
    task = receipt("majority:3:2", vote("a"), vote("b"))
    assert recheck(job(task, task), task.rule) == [f"task {task.task} is listed 2 times"]


def test_tasks_without_a_win_are_not_judged() -> None:
    assert recheck(job(receipt("majority:3:2", state=TaskState.REFUNDED, digest=None)), "majority:3:2") == []


def test_the_summary_adds_up() -> None:
    tasks = (
        receipt("majority:3:2", vote("a"), vote("b"), vote("c", WRONG)),
        receipt("majority:3:2", state=TaskState.REFUNDED, digest=None),
        receipt("majority:3:2", state=TaskState.OPEN, digest=None),
        receipt("majority:3:2", vote("a"), vote("b", WRONG), state=TaskState.DISPUTED, digest=None),
        receipt(
            "error:1e-2", vote("a", agreed=50.0), replicas=1, audited=True, confidence=0.98, state=TaskState.SETTLED
        ),
    )
    summary = job(*tasks).summary
    assert (summary.tasks, summary.executions, summary.executions_per_task) == (2, 13, 6.5)
    assert summary.expected_error == pytest.approx(0.04)
    assert (summary.paid, summary.returned) == (2 + 2 + 1, 6)
    assert (summary.dissenting, summary.audited) == (1, 1)
    empty = job().summary
    assert (empty.tasks, empty.executions_per_task, empty.expected_error) == (0, 0.0, 0.0)


def test_a_receipt_is_made_from_discoverys_final_verdict() -> None:
    verdict = Verdict(
        task="t" * 16, state=TaskState.WON, committed=2, outstanding=1, digest=RIGHT, confidence=0.9,
        rule="error:0.01", audited=True, votes=(vote("a"), vote("b")),
    )  # fmt: skip
    replicas = (ReplicaHistory(worker="a", fate="committed"), ReplicaHistory(worker="b", fate="committed"))
    bought = Purchased(task="t" * 16, rule="error:1e-2", replicas=replicas, verdict=verdict)
    lost = attrs.evolve(bought, verdict=attrs.evolve(verdict, state=TaskState.OPEN, rule=None, audited=None, votes=()))
    forgotten = attrs.evolve(bought, verdict=None)
    name = TaskName(phase=Phase.REDUCE, index=1)
    history = [TaskHistory(name=name, purchases=(forgotten, lost, bought))]
    made = job_receipt(history, verify="error:1e-2", seed=3)
    assert (made.verify, made.seed, {task.name for task in made.tasks}) == ("error:1e-2", 3, {"reduce task 2"})
    first, second, third = made.tasks
    assert (first.state, first.returned) == (TaskState.REFUNDED, 2)
    assert (second.rule, second.audited, second.returned) == ("error:1e-2", False, 2)
    assert (third.rule, third.audited, third.paid, third.votes) == ("error:1e-2", True, 2, verdict.votes)
