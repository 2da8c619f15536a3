from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.domain.commands import (
    BoughtTask,
    CommitResult,
    PoolQuery,
    Requirement,
    TaskState,
    VerdictQuery,
)
from ec262.domain.errors import (
    AddressUnreachable,
    CommitmentConflict,
    InvalidRequest,
    LedgerError,
    LimitReached,
    NotAuthenticated,
    PurchaseConflict,
    PurchaseTooExpensive,
    TaskClosed,
    UnknownTask,
)
from ec262.domain.ledger import Reason, Transfer
from ec262.services.discovery import EXPIRY_BATCH, DiscoveryService, Policy
from tests.discovery_town import (
    FOREMAN,
    OTHER_PYTHON,
    PYTHON,
    REQUIREMENT,
    Town,
    build_town,
    digest,
    order,
    registration,
    worker_token,
)

NEWCOMER = "newcomer-" + "n" * 40
DAY_S = 24 * 3600


# --- accounts -------------------------------------------------------------------------------------------------------


def newcomers_town(grant: int) -> DiscoveryService:
    town = build_town()
    return DiscoveryService(
        unit_of_work=MemoryStore().unit_of_work,
        clock=town.clock,
        entropy=town.service._entropy,
        prober=town.prober,
        policy=Policy(grant=grant),
    )


def test_the_first_contact_opens_an_account_with_the_grant_and_the_next_finds_it() -> None:
    service = newcomers_town(grant=12)
    first = service.open_account(NEWCOMER)
    assert (first.credits, first.escrow) == (12, 0)
    assert service.open_account(NEWCOMER) == first
    assert service.audit() == 12


def test_an_operator_may_grant_nothing() -> None:
    service = newcomers_town(grant=0)
    assert service.open_account(NEWCOMER).credits == 0
    assert service.audit() == 0


def test_a_grant_of_its_own_comes_once() -> None:
    service = newcomers_town(grant=12)
    first = service.grant_account(NEWCOMER, 100)
    assert first.credits == 100
    assert service.grant_account(NEWCOMER, 100) == service.open_account(NEWCOMER) == first


def test_the_policy_is_the_default_one_if_none_is_given() -> None:
    town = build_town()
    service = DiscoveryService(
        unit_of_work=MemoryStore().unit_of_work,
        clock=town.clock,
        entropy=town.service._entropy,
        prober=town.prober,
    )
    assert service.open_account(NEWCOMER).credits == 12


@pytest.mark.parametrize("token", ["short", NEWCOMER])
def test_nobody_does_anything_without_an_account(token: str) -> None:
    service = build_town().service
    calls: list[Callable[[], object]] = [
        lambda: service.register(token, registration(), source="127.0.0.1"),
        lambda: service.leave(token),
        lambda: service.assignment(token, "task-0001"),
        lambda: service.commit(token, CommitResult(task="task-0001", digest=digest("a"))),
        lambda: service.pool(token, PoolQuery(requirement=REQUIREMENT)),
        lambda: service.buy(token, order()),
        lambda: service.verdicts(token, VerdictQuery(tasks=())),
    ]
    for call in calls:
        with pytest.raises(NotAuthenticated):
            call()


# --- workers --------------------------------------------------------------------------------------------------------


def pool_size(town: Town) -> int:
    return town.service.pool(FOREMAN, PoolQuery(requirement=REQUIREMENT)).workers


def test_a_worker_joins_at_the_address_it_called_from() -> None:
    town = build_town()
    token = worker_token(1)
    account = town.service.open_account(token).account
    lease = town.service.register(token, registration(4001, ttl_s=30), source="10.0.0.7")
    assert (lease.worker, lease.address.host, lease.address.port) == (account, "10.0.0.7", 4001)
    assert lease.expires_in_s == 30
    assert town.prober.probed == [lease.address]
    assert town.prober.asking == [(account, "10.0.0.7")]
    assert pool_size(town) == 1


def test_a_worker_may_name_its_address() -> None:
    town = build_town()
    town.service.open_account(worker_token(1))
    lease = town.service.register(worker_token(1), registration(host="worker.example"), source="10.0.0.7")
    assert lease.address.host == "worker.example"


def test_a_source_that_is_no_address_has_to_be_named() -> None:
    town = build_town()
    town.service.open_account(worker_token(1))
    with pytest.raises(InvalidRequest, match="name one as host"):
        town.service.register(worker_token(1), registration(), source="fe80::1%eth0")


def test_a_silent_address_does_not_join() -> None:
    town = build_town()
    town.prober.silent.add(("127.0.0.1", 4001))
    with pytest.raises(AddressUnreachable):
        town.add_worker(1)
    assert pool_size(town) == 0


def test_renewing_does_not_knock_again() -> None:
    town = build_town(workers=1)
    town.add_worker(0)
    assert len(town.prober.probed) == 1
    assert pool_size(town) == 1


def test_a_new_address_is_knocked_at() -> None:
    town = build_town(workers=1)
    town.add_worker(0, registration(5000))
    assert [address.port for address in town.prober.probed] == [4000, 5000]
    assert pool_size(town) == 1


def test_a_lease_that_ran_out_is_knocked_at_anew() -> None:
    town = build_town()
    town.add_worker(0, registration(ttl_s=30))
    town.clock.advance(30)
    assert pool_size(town) == 0
    town.add_worker(0, registration(ttl_s=30))
    assert len(town.prober.probed) == 2
    assert pool_size(town) == 1


def test_leaving_is_fine_for_everybody() -> None:
    town = build_town(workers=1)
    for token in (worker_token(0), worker_token(0), FOREMAN):
        town.service.leave(token)
    assert pool_size(town) == 0


# --- the pool as foremen see it -------------------------------------------------------------------------------------


def test_the_pool_counts_free_slots_and_explains_the_rest() -> None:
    town = build_town()
    for number in range(3):
        town.add_worker(number, registration(4000 + number, slots=2))
    town.add_worker(3, registration(4003, python=OTHER_PYTHON))
    town.buy()
    status = town.service.pool(FOREMAN, PoolQuery(requirement=REQUIREMENT))
    assert (status.workers, status.slots, status.explanation) == (3, 3, "1 runs cpython 3.12")


def test_busy_workers_are_eligible_but_have_no_slots() -> None:
    town = build_town(workers=3)
    town.buy()
    status = town.service.pool(FOREMAN, PoolQuery(requirement=REQUIREMENT))
    assert (status.workers, status.slots, status.explanation) == (3, 0, "3 are busy")


def test_a_commitment_frees_a_slot() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.commit(task, 0, "a")
    assert town.service.pool(FOREMAN, PoolQuery(requirement=REQUIREMENT)).slots == 1


def test_giving_up_frees_a_slot_and_moves_nothing() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    worker = town.tokens[task.replicas[0].worker]
    before = town.service.open_account(FOREMAN)
    town.service.give_up(worker, task.task)
    town.service.give_up(worker, task.task)
    assert town.service.pool(FOREMAN, PoolQuery(requirement=REQUIREMENT)).slots == 1
    assert town.service.open_account(FOREMAN) == before
    with pytest.raises(UnknownTask):
        town.service.give_up(FOREMAN, task.task)


def test_a_deadline_frees_the_slots() -> None:
    town = build_town(workers=3)
    town.buy()
    town.clock.advance(600)
    assert town.service.pool(FOREMAN, PoolQuery(requirement=REQUIREMENT)).slots == 3


# --- buying ---------------------------------------------------------------------------------------------------------


def test_buying_draws_workers_and_moves_their_credits_into_escrow() -> None:
    town = build_town(workers=4)
    purchase = town.buy(order(deadline_s=60))
    (task,) = purchase.tasks
    assert (purchase.price, purchase.credits, purchase.shortfall) == (3, 9, "")
    assert task.deadline_s == 60
    assert len({replica.worker for replica in task.replicas}) == 3
    assert len({replica.secret for replica in task.replicas}) == 3
    assert all(len(replica.secret) == 32 for replica in task.replicas)
    status = town.service.open_account(FOREMAN)
    assert (status.credits, status.escrow) == (9, 3)


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
    town.service.register(FOREMAN, registration(4999), source="127.0.0.1")
    assert "1 is the foreman's own" in town.buy().shortfall


def test_too_poor_for_what_would_be_assigned_is_an_error_and_nothing_happens() -> None:
    town = build_town(workers=3, grant=2)
    with pytest.raises(PurchaseTooExpensive, match="have 2, need 3") as caught:
        town.buy()
    assert (caught.value.have, caught.value.need) == (2, 3)
    assert (town.credits(), pool_size(town)) == (2, 3)


def test_no_more_is_drawn_than_shows_that_the_purse_is_too_small() -> None:
    town = build_town(workers=30)
    with pytest.raises(PurchaseTooExpensive, match="have 12, need 15"):
        town.buy(order(tasks=10))
    assert len(town.buy(order(tasks=4)).tasks) == 4


def test_tasks_that_are_wholly_paid_are_not_under_way() -> None:
    town = build_town(grant=100, max_open_tasks=1)
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
    town.service.grant_account(NEWCOMER, 12)
    with pytest.raises(PurchaseConflict):
        town.service.buy(NEWCOMER, order(tasks=1))
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
    town = build_town(workers=9, grant=100, max_open_tasks=2)
    town.buy(order("purchase-1"))
    with pytest.raises(LimitReached, match="1 tasks are under way and 2 would come"):
        town.buy(order("purchase-2", tasks=2))
    town.buy(order("purchase-3"))
    town.clock.advance(600)
    town.buy(order("purchase-4", tasks=2))


def test_avoided_workers_are_left_out() -> None:
    town = build_town(workers=6)
    first = town.buy(order("purchase-1"))
    failed = {replica.worker for replica in first.tasks[0].replicas}
    town.clock.advance(600)
    second = town.buy(order("purchase-2", avoid=failed))
    assert failed.isdisjoint(replica.worker for replica in second.tasks[0].replicas)


# --- computing ------------------------------------------------------------------------------------------------------


def test_the_assigned_read_key_and_secrets() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.clock.advance(100)
    parts = [town.service.assignment(town.tokens[r.worker], task.task) for r in task.replicas]
    assert {len(part.key) for part in parts} == {32}
    assert len({part.key for part in parts}) == 1
    assert [part.secret for part in parts] == [replica.secret for replica in task.replicas]
    assert len({part.delivery_digest for part in parts}) == 3
    assert (parts[0].deadline_in_s, parts[0].forgotten_in_s) == (500, 500 + DAY_S)


@pytest.mark.parametrize("token", [FOREMAN, worker_token(3)])
def test_nobody_else_learns_that_a_task_exists(token: str) -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.add_worker(3)
    with pytest.raises(UnknownTask) as refused:
        town.service.assignment(token, task.task)
    with pytest.raises(UnknownTask) as unknown:
        town.service.assignment(token, "0" * 32)
    assert str(refused.value).replace(task.task, "") == str(unknown.value).replace("0" * 32, "")
    with pytest.raises(UnknownTask):
        town.service.commit(token, CommitResult(task=task.task, digest=digest("a")))


def test_nobody_commits_to_a_task_that_is_not_there() -> None:
    town = build_town(workers=1)
    with pytest.raises(UnknownTask):
        town.service.commit(worker_token(0), CommitResult(task="0" * 32, digest=digest("a")))


def test_after_the_deadline_no_key_is_given() -> None:
    town = build_town(workers=3)
    won, lost = town.buy_one(), None
    town.commit(won, 0, "a")
    town.commit(won, 1, "a")
    town.clock.advance(600)
    with pytest.raises(TaskClosed):
        town.service.assignment(town.tokens[won.replicas[2].worker], won.task)
    (lost,) = town.buy(order("purchase-2")).tasks
    town.clock.advance(600)
    with pytest.raises(TaskClosed):
        town.service.assignment(town.tokens[lost.replicas[0].worker], lost.task)


def test_the_winners_are_paid_at_once() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.commit(task, 0, "a")
    assert town.credits(town.tokens[task.replicas[0].worker]) == 0
    town.commit(task, 1, "a")
    town.commit(task, 2, "lie")
    purses = [town.credits(town.tokens[replica.worker]) for replica in task.replicas]
    assert purses == [1, 1, 0]
    assert town.service.open_account(FOREMAN).escrow == 1


def test_commitments_can_be_repeated_but_not_changed() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    for _ in range(3):
        town.commit(task, 0, "a")
        town.commit(task, 1, "a")
    with pytest.raises(CommitmentConflict):
        town.commit(task, 0, "b")
    assert town.credits(town.tokens[task.replicas[0].worker]) == 1


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_before_a_win_nothing_is_told_but_the_count() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.commit(task, 0, "a")
    verdict = town.verdict(task)
    assert (verdict.state, verdict.committed) == (TaskState.OPEN, 1)
    assert (verdict.key, verdict.digest, verdict.winners) == (None, None, ())


def test_after_a_win_key_digest_and_winners_are_told() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    for position, text in [(2, "a"), (0, "lie"), (1, "a")]:
        town.commit(task, position, text)
    verdict = town.verdict(task)
    parts = {r.worker: town.service.assignment(town.tokens[r.worker], task.task) for r in task.replicas}
    assert (verdict.state, verdict.committed, verdict.digest) == (TaskState.WON, 3, digest("a"))
    assert verdict.key == next(iter(parts.values())).key
    assert {winner.worker for winner in verdict.winners} == {task.replicas[1].worker, task.replicas[2].worker}
    for winner in verdict.winners:
        assert hashlib.sha256(winner.delivery_secret).digest() == parts[winner.worker].delivery_digest


def test_a_settled_task_tells_what_a_won_one_did() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.commit(task, 0, "a")
    town.commit(task, 1, "a")
    won = town.verdict(task)
    town.clock.advance(600)
    settled = town.verdict(task)
    assert settled.state is TaskState.SETTLED
    assert (settled.key, settled.digest, settled.winners) == (won.key, won.digest, won.winners)
    assert (town.credits(), town.service.open_account(FOREMAN).escrow) == (9, 0)


def test_what_nobody_won_is_refunded_and_its_key_is_gone() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    for position, text in enumerate("abc"):
        town.commit(task, position, text)
    town.clock.advance(600)
    verdict = town.verdict(task)
    assert (verdict.state, verdict.key, verdict.winners) == (TaskState.REFUNDED, None, ())
    assert town.credits() == 12


def test_the_deadline_counts_whether_or_not_a_sweep_ran() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.commit(task, 0, "a")
    town.clock.advance(600)
    with pytest.raises(TaskClosed):
        town.commit(task, 1, "a")
    assert town.credits() == 12


def test_a_refund_stays_a_refund_when_the_clock_is_set_back() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.clock.advance(600)
    with pytest.raises(TaskClosed):
        town.commit(task, 0, "a")
    town.clock.advance(-300)
    with pytest.raises(TaskClosed):
        town.commit(task, 1, "a")
    assert town.verdict(task).state is TaskState.REFUNDED


def test_verdicts_leave_out_what_was_not_bought_by_the_caller() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    for token in (town.tokens[task.replicas[0].worker], worker_token(2)):
        assert town.service.verdicts(token, VerdictQuery(tasks=(task.task,))).verdicts == ()
    both = VerdictQuery(tasks=("0" * 32, task.task, task.task))
    assert len(town.service.verdicts(FOREMAN, both).verdicts) == 1


def test_tasks_are_forgotten_a_day_after_their_deadline() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.clock.advance(600 + DAY_S - 1)
    town.service.sweep()
    assert town.verdict(task).state is TaskState.REFUNDED
    town.clock.advance(1)
    town.service.sweep()
    assert town.service.verdicts(FOREMAN, VerdictQuery(tasks=(task.task,))).verdicts == ()


# --- upkeep ---------------------------------------------------------------------------------------------------------


def test_a_sweep_applies_any_number_of_deadlines() -> None:
    count = EXPIRY_BATCH + 1
    town = build_town(grant=3 * count)
    for number in range(3):
        town.add_worker(number, registration(4000 + number, slots=count))
    town.buy(order(tasks=count))
    assert town.credits() == 0
    town.clock.advance(600)
    town.service.sweep()
    town.clock.advance(-600)
    assert town.credits() == 3 * count


def test_a_sweep_drops_leases_that_ran_out() -> None:
    town = build_town()
    town.add_worker(0, registration(ttl_s=30))
    town.clock.advance(30)
    town.service.sweep()
    town.clock.advance(-30)
    assert pool_size(town) == 0


def test_audit_refuses_books_that_do_not_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    town = build_town(unit_of_work=store.unit_of_work)
    assert town.service.audit() == 12
    monkeypatch.setattr(store.ledger, "balances", lambda: {"user:thief": 1})
    with pytest.raises(LedgerError):
        town.service.audit()


def test_books_that_refuse_a_movement_undo_the_whole_request() -> None:
    store = MemoryStore()
    town = build_town(workers=3, unit_of_work=store.unit_of_work)
    task: BoughtTask = town.buy_one()
    town.commit(task, 0, "a")
    escrow = f"escrow:{task.task}"
    with store.unit_of_work() as uow:
        uow.ledger.post(Transfer(id="theft", debit=escrow, credit="user:thief", amount=3, reason=Reason.WIN, at=0))
        uow.commit()
    with pytest.raises(LedgerError, match="overdrawn"):
        town.commit(task, 1, "a")
    assert town.verdict(task).committed == 1
