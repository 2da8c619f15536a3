from __future__ import annotations

import hashlib

import attrs
import pytest

from ec262.domain.discovery.ledger import SERVICE
from ec262.domain.discovery.tasks import CLAIM_S, commit, expire, fetch, give_up, purchase_transfer
from ec262.domain.errors import CommitmentConflict, TaskClosed, UnknownTask
from ec262.domain.protocol.reason import Reason
from ec262.domain.verification.task_state import TaskState
from tests.discovery_town import digest
from tests.task_cases import DEADLINE, EARLY, LATE, after, moves, open_task, replica


def test_buying_moves_a_credit_for_each_replica() -> None:
    transfer = purchase_transfer(open_task(), purchase="purchase-1", at=5)
    assert moves([transfer]) == [("user:foreman", "escrow:task-1", 3, Reason.PURCHASE)]
    assert transfer.task == "task-1"


def test_a_purchase_pays_for_its_own_replicas_alone() -> None:
    task = open_task()
    more = attrs.evolve(task, replicas=(*task.replicas, replica("w3", purchase="purchase-2")))
    assert [purchase_transfer(more, purchase=name, at=5).amount for name in ("purchase-1", "purchase-2")] == [3, 1]


def test_one_commitment_of_three_decides_nothing() -> None:
    task, transfers = commit(open_task(), worker="w1", digest=digest("a"), now=EARLY)
    assert task.state is TaskState.OPEN
    assert (task.commitments(), task.escrow, transfers) == ([digest("a")], 3, ())
    assert not task.won


def test_the_quorum_wins_and_is_paid_at_once() -> None:
    task, transfers = commit(after(open_task(), ("w2", "a")), worker="w0", digest=digest("a"), now=EARLY)
    assert (task.state, task.digest, task.escrow) == (TaskState.WON, digest("a"), 1)
    assert moves(transfers) == [
        ("escrow:task-1", "user:w0", 1, Reason.WIN),
        ("escrow:task-1", "user:w2", 1, Reason.WIN),
    ]
    assert {transfer.at for transfer in transfers} == {EARLY}


def test_commitments_are_in_order_of_arrival() -> None:
    task = after(open_task(), ("w2", "c"), ("w0", "a"), ("w1", "b"))
    assert task.commitments() == [digest("c"), digest("a"), digest("b")]


def test_a_late_equal_commitment_is_paid_until_the_deadline() -> None:
    won = after(open_task(), ("w0", "a"), ("w1", "a"))
    task, transfers = commit(won, worker="w2", digest=digest("a"), now=DEADLINE - 0.001)
    assert moves(transfers) == [("escrow:task-1", "user:w2", 1, Reason.WIN)]
    assert (task.state, task.escrow) == (TaskState.WON, 0)


def test_a_loser_is_not_paid() -> None:
    won = after(open_task(), ("w0", "a"), ("w1", "a"))
    task, transfers = commit(won, worker="w2", digest=digest("lie"), now=EARLY)
    assert transfers == ()
    assert (task.state, task.digest, task.escrow) == (TaskState.WON, digest("a"), 1)


def test_a_loser_before_the_win_is_not_paid_by_it() -> None:
    task = after(open_task(), ("w0", "lie"), ("w1", "a"), ("w2", "a"))
    assert [replica.paid for replica in task.replicas] == [False, True, True]
    assert task.escrow == 1


def test_three_different_digests_win_nothing() -> None:
    task = after(open_task(), ("w0", "a"), ("w1", "b"), ("w2", "c"))
    assert (task.state, task.digest, task.escrow) == (TaskState.OPEN, None, 3)


def test_the_same_commitment_again_changes_nothing() -> None:
    task = after(open_task(), ("w0", "a"), ("w1", "a"))
    assert commit(task, worker="w0", digest=digest("a"), now=EARLY) == (task, ())
    settled, _ = expire(task, now=LATE)
    assert commit(settled, worker="w0", digest=digest("a"), now=LATE) == (settled, ())


def test_another_commitment_is_refused() -> None:
    with pytest.raises(CommitmentConflict):
        commit(after(open_task(), ("w0", "a")), worker="w0", digest=digest("b"), now=EARLY)


def test_a_stranger_learns_nothing() -> None:
    with pytest.raises(UnknownTask, match="unknown task task-1"):
        commit(open_task(), worker="stranger", digest=digest("a"), now=EARLY)


def test_a_commitment_at_the_deadline_is_too_late() -> None:
    with pytest.raises(TaskClosed, match="the deadline"):
        commit(open_task(), worker="w0", digest=digest("a"), now=LATE)


@pytest.mark.parametrize("commitments", [[], [("w0", "a"), ("w1", "a")]])
def test_a_closed_task_takes_no_commitment_even_if_the_clock_is_set_back(commitments: list[tuple[str, str]]) -> None:
    closed, _ = expire(after(open_task(), *commitments), now=LATE)
    with pytest.raises(TaskClosed, match="no longer takes a commitment"):
        commit(closed, worker="w2", digest=digest("a"), now=EARLY)


def test_giving_up_ends_the_waiting_for_a_worker_and_moves_no_credits() -> None:
    task = give_up(open_task(), worker="w1")
    assert [replica.outstanding for replica in task.replicas] == [True, False, True]
    assert (task.state, task.escrow) == (TaskState.OPEN, 3)
    assert give_up(task, worker="w1") == task
    with pytest.raises(TaskClosed, match="given up"):
        commit(task, worker="w1", digest=digest("a"), now=EARLY)
    won = after(task, ("w0", "a"), ("w2", "a"))
    assert (won.state, won.escrow) == (TaskState.WON, 1)
    assert expire(won, now=LATE)[0].state is TaskState.SETTLED


def test_giving_up_after_a_win_or_a_commitment() -> None:
    won = after(open_task(), ("w0", "a"), ("w2", "a"))
    assert give_up(won, worker="w0") == won
    assert give_up(won, worker="w1").state is TaskState.WON


def test_giving_up_is_for_the_assigned_and_in_time() -> None:
    with pytest.raises(UnknownTask):
        give_up(open_task(), worker="stranger")
    with pytest.raises(TaskClosed):
        give_up(expire(open_task(), now=LATE)[0], worker="w0")


def test_before_the_deadline_nothing_expires() -> None:
    task = open_task()
    assert expire(task, now=EARLY) == (task, ())
    assert not task.is_due(EARLY)
    assert task.is_due(LATE)


@pytest.mark.parametrize("commitments", [[], [("w0", "a")], [("w0", "a"), ("w1", "b"), ("w2", "c")]])
def test_a_task_without_a_win_is_refunded_and_its_key_destroyed(commitments: list[tuple[str, str]]) -> None:
    task, transfers = expire(after(open_task(), *commitments), now=LATE)
    assert (task.state, task.key, task.escrow) == (TaskState.REFUNDED, None, 0)
    assert moves(transfers) == [("escrow:task-1", "user:foreman", 3, Reason.REFUND)]


@pytest.mark.parametrize(("unused", "kept"), [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("given_up", [False, True])
def test_half_of_the_shares_that_were_fetched_and_not_used_is_kept(
    unused: int,
    kept: int,
    given_up: bool,  # noqa: FBT001 - parametrized
) -> None:
    task = after(open_task(), *[(f"w{number}", f"{number}") for number in range(unused, 3)])
    for worker in [f"w{number}" for number in range(3)]:  # those who committed have asked, too
        task = fetch(task, worker=worker)
    for worker in [f"w{number}" for number in range(unused)] if given_up else []:
        task = give_up(task, worker=worker)
    task, transfers = expire(task, now=LATE)
    assert (task.state, task.key, task.escrow) == (TaskState.REFUNDED, None, 0)
    assert moves(transfers) == [
        ("escrow:task-1", SERVICE, kept, Reason.UNPAID),
        ("escrow:task-1", "user:foreman", 3 - kept, Reason.REFUND),
    ]


def test_to_block_a_single_worker_is_not_free() -> None:
    task, transfers = expire(fetch(open_task(replicas=1, rule="majority:1"), worker="w0"), now=LATE)
    assert (task.state, task.key, task.escrow) == (TaskState.REFUNDED, None, 0)
    assert moves(transfers) == [("escrow:task-1", SERVICE, 1, Reason.UNPAID)]


def test_what_others_decided_costs_a_foreman_no_more_because_a_worker_began() -> None:
    won = after(open_task(), ("w0", "a"), ("w1", "a"))
    _, transfers = expire(won, now=LATE)
    _, with_a_third = expire(give_up(fetch(won, worker="w2"), worker="w2"), now=LATE)
    assert transfers == with_a_third


def test_the_service_keeps_what_a_win_did_not_pay() -> None:
    task, transfers = expire(after(open_task(), ("w0", "a"), ("w1", "a")), now=LATE)
    assert (task.state, task.key, task.digest) == (TaskState.SETTLED, b"k" * 32, digest("a"))
    assert moves(transfers) == [("escrow:task-1", SERVICE, 1, Reason.UNPAID)]
    assert (task.escrow, task.is_due(LATE)) == (0, False)


def test_a_task_that_paid_all_has_nothing_left_to_move() -> None:
    task, transfers = expire(after(open_task(), ("w0", "a"), ("w1", "a"), ("w2", "a")), now=LATE)
    assert (task.state, transfers) == (TaskState.SETTLED, ())


@pytest.mark.parametrize("commitments", [[], [("w0", "a"), ("w1", "a")]])
def test_a_deadline_is_applied_once(commitments: list[tuple[str, str]]) -> None:
    closed, _ = expire(after(open_task(), *commitments), now=LATE)
    with pytest.raises(TaskClosed, match="no longer takes a deadline"):
        expire(closed, now=LATE)


def test_one_replica_wins_alone() -> None:
    task, transfers = commit(open_task(replicas=1, rule="majority:1"), worker="w0", digest=digest("a"), now=EARLY)
    assert (task.state, task.escrow, len(transfers)) == (TaskState.WON, 0, 1)


def test_every_movement_of_a_task_has_an_id_of_its_own() -> None:
    task = open_task()
    ids = [purchase_transfer(task, purchase="purchase-1", at=0).id]
    for worker in ("w0", "w1"):
        task, transfers = commit(task, worker=worker, digest=digest("a"), now=EARLY)
        ids += [transfer.id for transfer in transfers]
    ids += [transfer.id for transfer in expire(task, now=LATE)[1]]
    assert len(ids) == len(set(ids)) == 4


def test_a_worker_that_asks_for_its_part_is_busy_from_then_on() -> None:
    task = open_task()
    assert [each.fetched for each in task.replicas] == [False, False, False]
    fetched = fetch(task, worker="w1")
    assert [each.fetched for each in fetched.replicas] == [False, True, False]
    assert fetch(fetched, worker="w1") is fetched
    assert attrs.evolve(fetched, replicas=task.replicas) == task


def test_only_the_assigned_ask_and_only_while_something_can_come_of_it() -> None:
    with pytest.raises(UnknownTask, match="unknown task task-1"):
        fetch(open_task(), worker="stranger")
    won = after(open_task(), ("w0", "a"), ("w1", "a"))
    assert fetch(won, worker="w2").running_key() == b"k" * 32
    for task in (won, open_task()):
        closed, _ = expire(task, now=LATE)
        with pytest.raises(TaskClosed, match="the deadline"):
            fetch(closed, worker="w2")


@pytest.mark.parametrize(("age_s", "busy"), [(0.0, True), (CLAIM_S - 0.001, True), (CLAIM_S, False), (1e6, False)])
def test_a_worker_that_does_not_ask_is_free_after_a_while(age_s: float, busy: bool) -> None:  # noqa: FBT001 - drawn
    drawn = replica("w0", drawn_at=50.0)
    assert drawn.takes_slot(50.0 + age_s, deadline=DEADLINE) is busy
    assert attrs.evolve(drawn, fetched=True).takes_slot(50.0 + age_s, deadline=DEADLINE)


def test_a_worker_that_does_not_ask_is_free_after_a_tenth_of_the_time_if_that_is_shorter() -> None:
    drawn = replica("w0", drawn_at=50.0)
    assert drawn.takes_slot(52.9, deadline=80.0)
    assert not drawn.takes_slot(53.0, deadline=80.0)
    assert attrs.evolve(drawn, fetched=True).takes_slot(79.0, deadline=80.0)


def test_a_worker_that_committed_or_gave_up_is_free() -> None:
    drawn = attrs.evolve(replica("w0"), fetched=True)
    assert (drawn.is_late, replica("w0").is_late) == (True, False)
    assert not attrs.evolve(drawn, given_up=True).is_late
    assert not attrs.evolve(drawn, digest=digest("a"), arrival=0).is_late
    assert not attrs.evolve(drawn, given_up=True).takes_slot(0, deadline=DEADLINE)
    assert not attrs.evolve(drawn, digest=digest("a"), arrival=0).takes_slot(0, deadline=DEADLINE)


def test_a_task_tells_how_many_may_still_commit_and_whether_that_decides_it() -> None:
    task = open_task()
    told = [(task.outstanding, task.decided)]
    for worker, text in [("w0", "a"), ("w1", "b")]:
        task = after(task, (worker, text))
        told.append((task.outstanding, task.decided))
    lost = give_up(task, worker="w2")
    won = after(task, ("w2", "a"))
    ended, _ = expire(task, now=LATE)
    told += [(each.outstanding, each.decided) for each in (lost, won, ended)]
    assert told == [(3, False), (2, False), (1, False), (0, True), (0, True), (0, True)]
    early = after(open_task(), ("w0", "a"), ("w1", "a"))
    assert (early.outstanding, early.decided) == (1, True)


def test_of_a_delivery_secret_its_worker_may_know_the_sha256() -> None:
    drawn = replica("w0")
    assert drawn.delivery_digest == hashlib.sha256(drawn.delivery_secret).digest()


def test_secrets_are_not_printed() -> None:
    text = repr(attrs.evolve(open_task(), key=b"topsecret" * 3))
    for secret in ("topsecret", "sss", "ddd"):
        assert secret not in text
