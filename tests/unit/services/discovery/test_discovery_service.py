"""What holds for all calls of the discovery service: deadlines, sweeps, the books, news."""

from __future__ import annotations

import pytest

from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.domain.discovery.ledger import Transfer
from ec262.domain.errors import LedgerError
from ec262.domain.protocol.foreman_calls import BoughtTask
from ec262.domain.protocol.reason import Reason
from ec262.services.discovery.transactions import EXPIRY_BATCH
from tests.discovery_faults import Died, Faults
from tests.discovery_town import build_town, order, registration


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
    assert town.pool().workers == 0


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
        uow.ledger.post([Transfer(id="theft", debit=escrow, credit="user:thief", amount=3, reason=Reason.WIN, at=0)])
        uow.commit()
    with pytest.raises(LedgerError, match="overdrawn"):
        town.commit(task, 1, "a")
    assert town.verdict(task).committed == 1


# --- who waits is told ----------------------------------------------------------------------------------------------


def test_a_task_is_decided_by_a_win_a_last_commitment_a_surrender_a_dispute_or_a_deadline() -> None:
    town = build_town(grant=24)
    for number in range(3):
        town.add_worker(number, registration(4000 + number, slots=9))
    won, lost, given_up, late = (task for task in town.buy(order(tasks=4)).tasks)
    told: list[list[str]] = []

    def hear() -> None:
        told.append(sorted(set(town.decided)))
        town.decided.clear()

    for task in (won, lost, given_up, late):
        town.commit(task, 0, "a")
        town.assignment(town.tokens[task.replicas[1].worker], task.task)
    hear()
    town.commit(won, 1, "a")
    hear()
    town.commit(lost, 1, "b")
    hear()
    town.commit(lost, 2, "c")
    hear()
    town.dispute(lost)
    hear()
    for position in (1, 2):
        town.give_up(town.tokens[given_up.replicas[position].worker], given_up.task)
    hear()
    town.clock.advance(600)
    town.service.sweep()
    hear()
    everything_left = sorted([won.task, given_up.task, late.task])
    assert told == [[], [won.task], [], [lost.task], [lost.task], [given_up.task], everything_left]


def test_a_rollback_notifies_nobody() -> None:
    store = MemoryStore()
    unit_of_work, faults = store.unit_of_work, Faults()
    town = build_town(workers=3, unit_of_work=faults.around(unit_of_work))
    task = town.buy_one()
    town.commit(task, 0, "a")
    faults.arm(commit=1, after=False)
    with pytest.raises(Died):
        town.commit(task, 1, "a")
    assert (town.decided, town.verdict(task).committed) == ([], 1)


def test_a_reply_that_was_lost_after_the_commit_is_given_again() -> None:
    faults = Faults()
    town = build_town(workers=3, unit_of_work=faults.around(MemoryStore().unit_of_work))
    task = town.buy_one()
    faults.arm(commit=1, after=True)
    with pytest.raises(Died):
        town.commit(task, 0, "a")
    town.commit(task, 0, "a")
    assert town.verdict(task).committed == 1
