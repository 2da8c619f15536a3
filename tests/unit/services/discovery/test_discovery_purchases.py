"""The pool as foremen see it, and what they buy."""

from __future__ import annotations

import attrs
import pytest

from ec262.domain.discovery.pool.pool import Tie
from ec262.domain.errors import LimitReached, PurchaseConflict, PurchaseTooExpensive, UnknownTask
from ec262.domain.protocol.requirement import Requirement
from ec262.services.discovery.discovery_policy import Policy
from ec262.services.discovery.for_foremen import task_id
from tests.discovery_town import (
    DAY_S,
    FOREMAN,
    NEWCOMER,
    OTHER_PYTHON,
    PYTHON,
    build_town,
    more_replicas,
    order,
    registration,
)


def test_the_pool_counts_free_slots_and_explains_the_rest() -> None:
    town = build_town()
    for number in range(3):
        town.add_worker(number, registration(4000 + number, slots=2))
    town.add_worker(3, registration(4003, python=OTHER_PYTHON))
    town.buy()
    status = town.pool()
    assert (status.workers, status.slots, status.explanation) == (3, 3, "1 runs cpython 3.12")


def test_busy_workers_are_eligible_but_have_no_slots() -> None:
    town = build_town(workers=3)
    town.buy()
    status = town.pool()
    assert (status.workers, status.slots, status.explanation) == (3, 0, "3 are busy")


def test_a_commitment_frees_a_slot() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.commit(task, 0, "a")
    assert town.pool().slots == 1


def test_giving_up_frees_a_slot_and_moves_nothing() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    worker = town.tokens[task.replicas[0].worker]
    before = town.service.accounts.open(FOREMAN)
    town.give_up(worker, task.task)
    town.give_up(worker, task.task)
    assert town.pool().slots == 1
    assert town.service.accounts.open(FOREMAN) == before
    with pytest.raises(UnknownTask):
        town.give_up(FOREMAN, task.task)


def test_a_deadline_frees_the_slots() -> None:
    town = build_town(workers=3)
    town.buy()
    town.clock.advance(600)
    assert town.pool().slots == 3


# --- buying ----------------------------------------------------------------------------------------------------------


def test_buying_draws_workers_and_moves_their_credits_into_escrow() -> None:
    town = build_town(workers=4)
    purchase = town.buy(order(deadline_s=60))
    (task,) = purchase.tasks
    assert (purchase.price, purchase.credits, purchase.shortfall) == (3, 9, "")
    assert task.deadline_s == 60
    assert len({replica.worker for replica in task.replicas}) == 3
    assert len({replica.secret for replica in task.replicas}) == 3
    assert all(len(replica.secret) == 32 for replica in task.replicas)
    status = town.service.accounts.open(FOREMAN)
    assert (status.credits, status.escrow) == (9, 3)


def test_ids_of_tasks_that_are_bought_later_come_later() -> None:
    assert task_id(1.5, b"\xff") == "0000000005dcff"
    assert task_id(1.499, b"\xff") < task_id(1.5, b"\x00") < task_id(1e10, b"\x00")
    assert len(task_id(-1e20, b"")) == 12


def test_only_what_is_assigned_is_paid() -> None:
    town = build_town(workers=3)
    purchase = town.buy(order(tasks=4))
    assert (len(purchase.tasks), purchase.price, town.credits()) == (1, 3, 9)
    assert purchase.shortfall.startswith("3 of 4 tasks not assigned: 3 workers needed for each, 3 eligible")


def test_a_purchase_of_nothing_costs_nothing_and_says_why() -> None:
    town = build_town(workers=2)
    purchase = town.buy(order(requirement=Requirement(python=PYTHON, packages=("numpy",))))
    assert (purchase.tasks, purchase.price, town.credits()) == ((), 0, 12)
    assert purchase.shortfall.endswith("none offers numpy")


def test_a_foreman_is_not_its_own_worker() -> None:
    town = build_town(workers=2)
    town.service.workers.register(FOREMAN, registration(4999), source="127.0.0.1")
    assert "1 is the foreman's own" in town.buy().shortfall


def test_too_poor_for_what_would_be_assigned_is_an_error_and_nothing_happens() -> None:
    town = build_town(workers=3, grant=2)
    with pytest.raises(PurchaseTooExpensive, match="have 2, need 3") as caught:
        town.buy()
    assert (caught.value.have, caught.value.need) == (2, 3)
    assert (town.credits(), town.pool().workers) == (2, 3)


def test_no_more_is_drawn_than_shows_that_the_purse_is_too_small() -> None:
    town = build_town(workers=30)
    with pytest.raises(PurchaseTooExpensive, match="have 12, need 15"):
        town.buy(order(tasks=10))
    assert len(town.buy(order(tasks=4)).tasks) == 4


def test_tasks_that_are_wholly_paid_are_not_under_way() -> None:
    town = build_town(grant=100, policy=Policy(grant=0, max_open_tasks=1))
    for number in range(3):
        town.add_worker(number, registration(4000 + number, slots=9))
    for number in range(3):
        (task,) = town.buy(order(f"purchase-{number}")).tasks
        for position in range(3):
            with pytest.raises(LimitReached):
                town.buy(order("purchase-x"))
            town.commit(task, position, "a")


def test_the_purse_need_not_cover_what_is_not_assigned() -> None:
    town = build_town(workers=3, grant=3)
    assert town.buy(order(tasks=1000)).price == 3


def test_a_repeated_purchase_has_the_same_reply_and_moves_nothing() -> None:
    town = build_town(workers=6)
    first = town.buy(order(tasks=2))
    assert town.buy(order(tasks=2)) == first
    assert town.credits() == 6


def test_the_reply_to_a_repeated_purchase_counts_from_now() -> None:
    town = build_town(workers=3)
    town.buy(order(deadline_s=60))
    town.clock.advance(45)
    assert town.buy(order(deadline_s=60)).tasks[0].deadline_s == 15
    town.clock.advance(45)
    assert town.buy(order(deadline_s=60)).tasks[0].deadline_s == 0


def test_a_purchase_id_stands_for_one_purchase() -> None:
    town = build_town(workers=6)
    town.buy(order(tasks=1))
    with pytest.raises(PurchaseConflict):
        town.buy(order(tasks=2))
    town.service.accounts.open_with_grant(NEWCOMER, 12)
    with pytest.raises(PurchaseConflict):
        town.service.foremen.buy(NEWCOMER, order(tasks=1))
    assert (town.credits(), town.credits(NEWCOMER)) == (9, 12)


def test_a_purchase_id_is_not_used_again_when_its_tasks_are_forgotten() -> None:
    town = build_town(workers=3)
    town.buy(order())
    town.clock.advance(600 + DAY_S)
    town.service.sweep()
    with pytest.raises(PurchaseConflict, match="forgotten"):
        town.buy(order())


def test_a_purchase_that_moved_nothing_is_forgotten_itself() -> None:
    town = build_town()
    town.buy(order())
    town.clock.advance(DAY_S)
    town.service.sweep()
    for number in range(3):
        town.add_worker(number)
    assert town.buy(order()).price == 3


def test_open_tasks_are_capped() -> None:
    town = build_town(workers=9, grant=100, policy=Policy(grant=0, max_open_tasks=2))
    town.buy(order("purchase-1"))
    with pytest.raises(LimitReached, match="too many open tasks: 1 and 2 more"):
        town.buy(order("purchase-2", tasks=2))
    town.buy(order("purchase-3"))
    town.clock.advance(600)
    town.buy(order("purchase-4", tasks=2))


def test_credits_in_escrow_are_capped() -> None:
    town = build_town(grant=100, policy=Policy(grant=0, max_escrow=6))
    for number in range(4):
        town.add_worker(number, registration(4000 + number, slots=9))
    (first,) = town.buy(order("purchase-1")).tasks
    with pytest.raises(LimitReached, match="too many credits in escrow: 3 and 6 more, but an account may have 6"):
        town.buy(order("purchase-2", tasks=2))
    town.buy(order("purchase-3"))
    with pytest.raises(LimitReached):
        town.add_replicas(more_replicas(first.task, purchase="purchase-4"))
    assert (town.credits(), town.service.accounts.status(FOREMAN).escrow) == (94, 6)
    town.commit(first, 0, "a")
    town.commit(first, 1, "a")
    assert town.service.accounts.status(FOREMAN).escrow == 4
    town.clock.advance(600)
    assert town.buy(order("purchase-5", tasks=2)).price == 6


def test_an_account_tells_what_is_in_escrow_and_how_many_tasks_hold_it() -> None:
    town = build_town(workers=6)
    (first, _) = town.buy(order(tasks=2)).tasks
    status = town.service.accounts.status(FOREMAN)
    assert (status.credits, status.escrow, status.open_tasks, status.reports) == (6, 6, 2, 0)
    for position in range(3):
        town.commit(first, position, "a")
    status = town.service.accounts.status(FOREMAN)
    assert (status.escrow, status.open_tasks) == (3, 1)


def test_the_operator_may_keep_workers_of_one_block_apart() -> None:
    town = build_town(policy=Policy(grant=0, apart=frozenset({Tie.BLOCK})))
    for number, host in enumerate(["10.0.0.1", "10.0.0.2", "10.0.1.1"]):
        town.add_worker(number, registration(4000 + number, host=host))
    assert town.buy(order("purchase-1")).tasks == ()
    town.add_worker(3, registration(4003, host="10.0.2.1"))
    (task,) = town.buy(order("purchase-2")).tasks
    assert len({replica.address.host.rpartition(".")[0] for replica in task.replicas}) == 3


def test_no_worker_is_twice_in_a_team_even_if_all_have_one_owner() -> None:
    town = build_town(workers=4)
    with town.unit_of_work() as uow:
        for account in town.tokens:
            known = uow.accounts.get(account)
            assert known is not None
            uow.accounts.save(attrs.evolve(known, owner="laboratory"))
        uow.commit()
    for number in range(4):
        town.add_worker(number, registration(4000 + number, slots=9))
    for task in town.buy(order(tasks=4)).tasks:
        assert len({replica.worker for replica in task.replicas}) == 3


def test_avoided_workers_are_left_out() -> None:
    town = build_town(workers=6)
    first = town.buy(order("purchase-1"))
    failed = {replica.worker for replica in first.tasks[0].replicas}
    town.clock.advance(600)
    second = town.buy(order("purchase-2", avoid=failed))
    assert failed.isdisjoint(replica.worker for replica in second.tasks[0].replicas)
