"""Replicas that are added to tasks."""

from __future__ import annotations

import pytest

from ec262.domain.discovery.pool.pool import Tie
from ec262.domain.errors import LimitReached, PurchaseConflict, PurchaseTooExpensive
from ec262.domain.protocol.foreman_calls import BoughtTask
from ec262.domain.verification.rules import MAX_REPLICAS
from ec262.domain.verification.task_state import TaskState
from ec262.services.discovery.discovery_policy import Policy
from tests.discovery_town import (
    DAY_S,
    FOREMAN,
    NEWCOMER,
    OTHER_PYTHON,
    Town,
    build_town,
    more_replicas,
    order,
    registration,
)

UNKNOWN = "0" * 32
CLOSED = "some tasks no longer accept replicas"


def undecided(town: Town) -> BoughtTask:
    """Buy a task to which all three workers commit something else."""
    task = town.buy_one()
    for position in range(3):
        town.commit(task, position, f"result {position}")
    return task


def test_more_workers_get_the_same_key_and_can_bring_the_win() -> None:
    town = build_town(workers=5)
    task = undecided(town)
    key = town.assignment(town.tokens[task.replicas[0].worker], task.task).key
    town.clock.advance(500)
    purchase = town.add_replicas(more_replicas(task.task, deadline_s=300))
    (more,) = purchase.tasks
    (replica,) = more.replicas
    assert (purchase.price, purchase.credits, purchase.shortfall) == (1, 8, "")
    assert (more.task, more.deadline_s) == (task.task, 300)
    assert replica.worker not in {each.worker for each in task.replicas}
    old = town.assignment(town.tokens[task.replicas[0].worker], task.task)
    new = town.assignment(town.tokens[replica.worker], task.task)
    assert old.key == new.key == key
    assert (old.deadline_in_s, old.forgotten_in_s) == (300, 300 + DAY_S)
    assert new.secret == replica.secret
    assert town.verdict(task).outstanding == 1
    town.commit(more, 0, "result 1")
    verdict = town.verdict(task)
    assert (verdict.state, verdict.committed) == (TaskState.WON, 4)
    assert {winner.worker for winner in verdict.winners} == {replica.worker, task.replicas[1].worker}
    town.clock.advance(300)
    assert town.verdict(task).state is TaskState.SETTLED
    assert town.credits() == 8


def test_a_task_without_a_win_is_refunded_including_added_workers() -> None:
    town = build_town(workers=5)
    task = undecided(town)
    town.add_replicas(more_replicas(task.task, replicas=2, deadline_s=900))
    assert town.credits() == 7
    town.clock.advance(899)
    assert town.verdict(task).state is TaskState.OPEN
    town.clock.advance(1)
    assert (town.verdict(task).state, town.credits()) == (TaskState.REFUNDED, 12)


def test_an_addition_is_repeated_under_its_id_and_moves_nothing() -> None:
    town = build_town(workers=8)
    task = undecided(town)
    command = more_replicas(task.task)
    first = town.add_replicas(command)
    assert town.add_replicas(command) == first
    town.add_replicas(more_replicas(task.task, purchase="purchase-other"))
    again = town.add_replicas(command)
    assert [each.replicas for each in again.tasks] == [each.replicas for each in first.tasks]
    assert (again.price, again.credits, town.credits()) == (1, 8, 7)
    town.commit(first.tasks[0], 0, "result 0")
    town.clock.advance(600)
    assert town.add_replicas(command).tasks[0].deadline_s == 0
    town.clock.advance(DAY_S)
    town.service.sweep()
    with pytest.raises(PurchaseConflict, match="forgotten"):
        town.add_replicas(command)
    assert town.credits() == 7


def test_an_id_is_for_one_addition() -> None:
    town = build_town(workers=8)
    task = undecided(town)
    town.add_replicas(more_replicas(task.task))
    town.service.accounts.open_with_grant(NEWCOMER, 12)
    for command in (more_replicas(task.task, replicas=2), more_replicas(task.task, purchase="purchase-1")):
        with pytest.raises(PurchaseConflict):
            town.add_replicas(command)
    with pytest.raises(PurchaseConflict):
        town.service.foremen.add_replicas(NEWCOMER, more_replicas(task.task))
    with pytest.raises(PurchaseConflict):
        town.buy(order("purchase-more"))
    assert (town.credits(), town.credits(NEWCOMER)) == (8, 12)


def test_a_purchase_tells_of_its_own_replicas_alone() -> None:
    town = build_town(workers=5)
    task = undecided(town)
    town.add_replicas(more_replicas(task.task))
    assert town.buy().tasks[0].replicas == task.replicas


def test_nothing_is_added_after_a_win_a_dispute_or_a_deadline_or_for_others() -> None:
    town = build_town(grant=24)
    for number in range(6):
        town.add_worker(number, registration(4000 + number, slots=9))
    (won, disputed, refunded, full) = (
        town.buy(order(f"purchase-{name}", rule=rule, deadline_s=deadline_s)).tasks[0]
        for name, rule, deadline_s in [
            ("1", "majority:3", 600.0),
            ("2", "majority:3", 600.0),
            ("3", "majority:3", 1.0),
            ("4", "majority:3", 600.0),
        ]
    )
    for position in range(3):
        town.commit(won, position, "a")
        town.commit(disputed, position, f"result {position}")
    town.dispute(disputed)
    town.clock.advance(1)
    before = town.credits()
    for number, task in enumerate([won.task, disputed.task, refunded.task, UNKNOWN]):
        purchase = town.add_replicas(more_replicas(task, purchase=f"purchase-more-{number}"))
        assert (purchase.tasks, purchase.price, purchase.shortfall) == ((), 0, CLOSED)
    too_many = town.add_replicas(more_replicas(full.task, purchase="purchase-more-9", replicas=MAX_REPLICAS - 2))
    assert (too_many.tasks, too_many.shortfall) == ((), CLOSED)
    assert town.credits() == before
    town.service.accounts.open_with_grant(NEWCOMER, 12)
    stranger = town.service.foremen.add_replicas(NEWCOMER, more_replicas(full.task))
    assert (stranger.tasks, stranger.shortfall, town.credits(NEWCOMER)) == ((), CLOSED, 12)


def test_an_order_is_filled_as_a_whole_or_not_at_all_and_says_why() -> None:
    town = build_town(workers=5)
    task = undecided(town)
    purchase = town.add_replicas(more_replicas(task.task, UNKNOWN, replicas=3))
    assert (purchase.tasks, purchase.price, town.credits()) == ((), 0, 9)
    assert purchase.shortfall.startswith(f"{CLOSED}; 1 of 1 task not assigned: 3 workers needed for each")
    assert len(town.add_replicas(more_replicas(task.task, purchase="purchase-2-more", replicas=2)).tasks) == 1


def test_orders_share_the_free_slots() -> None:
    town = build_town(workers=6, grant=24)
    first, second = undecided(town), town.buy(order("purchase-2")).tasks[0]
    for position in range(3):
        town.commit(second, position, f"result {position}")
    town.add_worker(6)
    purchase = town.add_replicas(more_replicas(first.task, second.task, replicas=4))
    assert [task.task for task in purchase.tasks] == [first.task]
    assert (purchase.price, town.pool().slots) == (4, 3)


def test_added_workers_are_of_the_same_kind() -> None:
    town = build_town(workers=3)
    task = undecided(town)
    town.add_worker(3, registration(4003, machine="aarch64"))
    town.add_worker(4, registration(4004, python=OTHER_PYTHON))
    assert town.add_replicas(more_replicas(task.task)).tasks == ()
    alike = town.add_worker(5)
    (more,) = town.add_replicas(more_replicas(task.task, purchase="purchase-2-more")).tasks
    assert [replica.worker for replica in more.replicas] == [alike]


def test_the_operator_may_keep_added_workers_apart() -> None:
    town = build_town(policy=Policy(grant=0, apart=frozenset({Tie.BLOCK})))
    for number in range(3):
        town.add_worker(number, registration(4000 + number, host=f"10.0.{number}.1"))
    task = undecided(town)
    town.add_worker(3, registration(4003, host="10.0.2.2"))
    assert town.add_replicas(more_replicas(task.task)).tasks == ()
    stranger = town.add_worker(4, registration(4004, host="10.0.9.1"))
    (more,) = town.add_replicas(more_replicas(task.task, purchase="purchase-2-more")).tasks
    assert [replica.worker for replica in more.replicas] == [stranger]


def test_avoided_workers_and_the_foreman_itself_are_not_added() -> None:
    town = build_town(workers=3)
    task = undecided(town)
    town.service.workers.register(FOREMAN, registration(4999), source="127.0.0.1")
    assert town.add_replicas(more_replicas(task.task)).tasks == ()
    avoided, other = town.add_worker(4), town.add_worker(5)
    (more,) = town.add_replicas(more_replicas(task.task, purchase="purchase-2-more", avoid=[avoided])).tasks
    assert [replica.worker for replica in more.replicas] == [other]


def test_too_poor_or_beyond_the_limit_nothing_happens() -> None:
    poor = build_town(workers=8, grant=4)
    task = undecided(poor)
    with pytest.raises(PurchaseTooExpensive, match="have 1, need 2"):
        poor.add_replicas(more_replicas(task.task, replicas=2))
    assert (poor.credits(), poor.pool().slots, poor.verdict(task).outstanding) == (1, 8, 0)
    capped = build_town(workers=8, policy=Policy(grant=0, max_open_tasks=1, max_escrow=4))
    task = undecided(capped)
    with pytest.raises(LimitReached, match="an account may have 4"):
        capped.add_replicas(more_replicas(task.task, replicas=2))
    assert capped.add_replicas(more_replicas(task.task)).price == 1


def test_an_addition_of_nothing_is_forgotten_itself() -> None:
    town = build_town(workers=3)
    task = undecided(town)
    assert town.add_replicas(more_replicas(task.task, deadline_s=DAY_S)).price == 0
    town.add_worker(4)
    assert town.add_replicas(more_replicas(task.task, deadline_s=DAY_S)).price == 0
    kept = town.add_replicas(more_replicas(task.task, purchase="purchase-kept", deadline_s=DAY_S))
    assert kept.price == 1
