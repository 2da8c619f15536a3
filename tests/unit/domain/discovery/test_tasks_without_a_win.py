"""What a foreman can do about a task that does not win: more replicas, or the dispute."""

from __future__ import annotations

import attrs
import pytest

from ec262.domain.discovery.ledger import SERVICE
from ec262.domain.discovery.tasks import Task, add_replicas, can_be_disputed, commit, dispute, expire, give_up, room_for
from ec262.domain.errors import TaskClosed
from ec262.domain.protocol.reason import Reason
from ec262.domain.verification.rules import MAX_REPLICAS
from ec262.domain.verification.task_state import TaskState
from tests.discovery_town import digest
from tests.task_cases import DEADLINE, EARLY, LATE, after, moves, open_task, replica

LATER = DEADLINE + 500


def lost_task() -> Task:
    return after(open_task(), ("w0", "a"), ("w1", "b"), ("w2", "c"))


def won_task() -> Task:
    return after(open_task(), ("w0", "a"), ("w1", "a"))


def disputed_task() -> Task:
    return dispute(lost_task(), now=EARLY)[0]


# --- more replicas --------------------------------------------------------------------------------------------------


def test_added_replicas_have_the_same_key_and_a_later_deadline() -> None:
    task = add_replicas(lost_task(), (replica("w3", purchase="purchase-2"),), deadline=LATER)
    assert (task.key, task.state, task.escrow) == (b"k" * 32, TaskState.OPEN, 4)
    assert (task.deadline, task.forgotten_at) == (LATER, LATER + 100)
    assert [each.worker for each in task.replicas] == ["w0", "w1", "w2", "w3"]
    assert (task.outstanding, task.decided) == (1, False)


def test_a_deadline_never_moves_forward() -> None:
    task = add_replicas(open_task(), (replica("w3"),), deadline=EARLY)
    assert (task.deadline, task.forgotten_at) == (DEADLINE, DEADLINE + 100)


def test_an_added_replica_can_win_with_an_old_commitment() -> None:
    task = add_replicas(lost_task(), (replica("w3"),), deadline=LATER)
    won, transfers = commit(task, worker="w3", digest=digest("b"), now=LATE)
    assert (won.state, won.digest, won.escrow) == (TaskState.WON, digest("b"), 2)
    assert [credit for _, credit, _, _ in moves(transfers)] == ["user:w1", "user:w3"]


def test_the_first_of_two_digests_that_reach_the_quorum_wins_for_good() -> None:
    more = tuple(replica(f"w{number}") for number in (3, 4))
    task = after(add_replicas(lost_task(), more, deadline=LATER), ("w3", "b"), ("w4", "a"))
    assert (task.digest, task.escrow) == (digest("b"), 3)


@pytest.mark.parametrize(
    ("task", "replicas", "now", "fits"),
    [
        (open_task(), 1, EARLY, True),
        (lost_task(), MAX_REPLICAS - 3, EARLY, True),
        (lost_task(), MAX_REPLICAS - 2, EARLY, False),
        (open_task(), 1, LATE, False),
        (won_task(), 1, EARLY, False),
        (disputed_task(), 1, EARLY, False),
        (expire(open_task(), now=LATE)[0], 1, EARLY, False),
    ],
    ids=["open", "up to the limit", "beyond it", "too late", "won", "disputed", "refunded"],
)
def test_there_is_room_in_open_tasks_before_their_deadline(task: Task, replicas: int, now: float, fits: bool) -> None:  # noqa: FBT001 - drawn
    assert room_for(task, replicas=replicas, now=now) is fits


@pytest.mark.parametrize(
    "task", [won_task(), disputed_task(), expire(open_task(), now=LATE)[0]], ids=["won", "disputed", "refunded"]
)
def test_nothing_is_added_to_a_task_that_is_not_open(task: Task) -> None:
    with pytest.raises(TaskClosed, match="no longer takes more replicas"):
        add_replicas(task, (replica("w3"),), deadline=LATER)


# --- the dispute ----------------------------------------------------------------------------------------------------


def test_a_dispute_pays_all_who_committed_and_keeps_the_key() -> None:
    task, transfers = dispute(lost_task(), now=EARLY)
    assert (task.state, task.key, task.digest, task.escrow) == (TaskState.DISPUTED, b"k" * 32, None, 0)
    assert moves(transfers) == [("escrow:task-1", f"user:w{n}", 1, Reason.DISPUTE) for n in range(3)]
    assert (task.won, task.decided, task.is_due(LATE)) == (False, True, False)


def test_a_foreman_that_has_the_key_gets_no_refund() -> None:
    one = after(open_task(), ("w1", "a"))
    task, transfers = dispute(give_up(give_up(one, worker="w0"), worker="w2"), now=EARLY)
    assert moves(transfers) == [
        ("escrow:task-1", "user:w1", 1, Reason.DISPUTE),
        ("escrow:task-1", SERVICE, 2, Reason.UNPAID),
    ]
    assert (task.escrow, len({transfer.id for transfer in transfers})) == (0, 2)


def given_up(task: Task, *workers: str) -> Task:
    for worker in workers:
        task = give_up(task, worker=worker)
    return task


@pytest.mark.parametrize(
    ("task", "now"),
    [
        (after(open_task(), ("w0", "a"), ("w1", "b")), EARLY),
        (given_up(open_task(), "w0", "w1", "w2"), EARLY),
        (lost_task(), LATE),
        (won_task(), EARLY),
        (disputed_task(), EARLY),
        (expire(lost_task(), now=LATE)[0], EARLY),
        (add_replicas(lost_task(), (replica("w3"),), deadline=LATER), EARLY),
    ],
    ids=["somebody computes", "nobody committed", "refund is due", "won", "disputed", "refunded", "more replicas"],
)
def test_other_tasks_cannot_be_disputed(task: Task, now: float) -> None:
    assert not can_be_disputed(task, now=now)
    with pytest.raises(TaskClosed):
        dispute(task, now=now)


def test_after_a_dispute_nothing_moves_any_more() -> None:
    task = disputed_task()
    assert commit(task, worker="w0", digest=digest("a"), now=EARLY) == (task, ())
    for refused in (lambda: expire(task, now=LATE), task.running_key):
        with pytest.raises(TaskClosed):
            refused()
    late = dispute(given_up(after(open_task(), ("w0", "a"), ("w1", "b")), "w2"), now=EARLY)[0]
    with pytest.raises(TaskClosed):
        commit(late, worker="w2", digest=digest("a"), now=EARLY)


def test_a_late_worker_of_an_ended_task_does_not_commit() -> None:
    task = attrs.evolve(disputed_task(), replicas=(*disputed_task().replicas, replica("w3")))
    with pytest.raises(TaskClosed, match="disputed"):
        commit(task, worker="w3", digest=digest("a"), now=EARLY)
