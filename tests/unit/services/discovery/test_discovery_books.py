"""The books of a service that has run for months: short, right, and still explained."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest

from ec262.adapters.memory.entropy import SeededEntropy
from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.domain.discovery.ledger import MINT, Transfer
from ec262.domain.discovery.unit_of_work import UnitOfWork, UnitOfWorkFactory
from ec262.domain.protocol.account_calls import HistoryEntry, HistoryQuery
from ec262.domain.protocol.reason import Reason
from ec262.services.discovery import bookkeeping
from ec262.services.discovery.administration import DiscoveryAdmin
from ec262.services.discovery.bookkeeping import Folding
from ec262.services.discovery.discovery_policy import Policy
from tests.discovery_town import FOREMAN, Town, build_town, order, registration, worker_token

DAY_S = 24 * 3600.0
POLICY = Policy(grant=0, retention_s=3600.0, history_s=30 * DAY_S)


@attrs.define
class Office:
    """A town, and its operator."""

    town: Town
    admin: DiscoveryAdmin
    purchases: int = 0

    def a_day(self, *, tasks: int = 2) -> None:
        """Buy tasks: two workers are paid, one is not; nobody computes the last."""
        for number in range(4):
            self.town.add_worker(number, registration(4000 + number, ttl_s=DAY_S, slots=tasks))
        self.purchases += 1
        *done, _lost = self.town.buy(order(f"purchase-{self.purchases}", tasks=tasks)).tasks
        for task in done:
            self.town.commit(task, 0, "same")
            self.town.commit(task, 1, "same")
        self.town.clock.advance(DAY_S)
        self.town.service.sweep()

    def history(self, token: str = FOREMAN) -> tuple[HistoryEntry, ...]:
        return self.town.service.accounts.history(token, HistoryQuery(limit=100)).entries

    def kept(self) -> list[Transfer]:
        with self.town.unit_of_work() as uow:
            return list(uow.ledger.transfers())


def office_over(unit_of_work: UnitOfWorkFactory, policy: Policy) -> Office:
    town = build_town(grant=1000, policy=policy, unit_of_work=unit_of_work)
    admin = DiscoveryAdmin(unit_of_work=unit_of_work, snapshot=unit_of_work, clock=town.clock, entropy=SeededEntropy(7))
    return Office(town, admin)


@pytest.fixture
def office() -> Office:
    return office_over(MemoryStore().unit_of_work, POLICY)


def test_old_movements_become_one_for_each_account_and_month(office: Office) -> None:
    """It is September 2001; and nothing of it is single after November."""
    for _ in range(4):
        for _ in range(10):
            office.a_day()
        assert office.admin.audit().findings == ()
    movements = office.admin.audit().transfers
    credits = office.town.credits()
    office.town.clock.advance(30 * DAY_S)
    office.a_day()
    audit = office.admin.audit()
    assert audit.findings == ()
    assert (audit.granted, office.town.credits()) == (1000, credits - 3)
    assert audit.transfers >= movements
    assert len(office.kept()) < 10
    assert [(each.reason, each.change, each.text) for each in office.history()[3:]] == [
        (Reason.MONTH, -51, "2001-10, 55 movements in total: bought replicas -108, refunds +57"),
        (Reason.MONTH, -69, "2001-09, 65 movements in total: bought replicas -132, refunds +63"),
        (Reason.GRANT, 1000, "starting credits"),
    ]
    assert [(each.change, each.text) for each in office.history(worker_token(0))[-2:]] == [
        (6, "2001-10, 6 movements in total: computed tasks that won +6"),
        (11, "2001-09, 11 movements in total: computed tasks that won +11"),
    ]


def test_each_entry_of_a_history_leads_to_the_next(office: Office) -> None:
    for _ in range(50):
        office.a_day()
    for token in (FOREMAN, worker_token(0)):
        entries = office.history(token)
        assert sum(each.reason is Reason.MONTH for each in entries) == 1
        assert entries[0].balance == office.town.credits(token)
        for newer, older in pairwise(entries):
            assert newer.balance - newer.change == older.balance
            assert newer.position > older.position
        assert entries[-1].balance == entries[-1].change
        assert all(each.balance >= 0 for each in entries)


def test_younger_records_are_left_alone(office: Office) -> None:
    for _ in range(25):
        office.a_day()
    assert all(each.reason is not Reason.MONTH for each in office.history())


def test_a_backlog_is_worked_off_in_batches(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade: others get their turns between them."""
    monkeypatch.setattr(bookkeeping, "FOLD_BATCHES", 0)
    for _ in range(9):
        office.a_day()
    monkeypatch.undo()
    monkeypatch.setattr(bookkeeping, "FOLD_BATCHES", 2)
    monkeypatch.setattr(bookkeeping, "FOLD_BATCH", 5)
    office.town.clock.advance(60 * DAY_S)
    left = [len(office.kept())]
    while len(left) < 2 or left[-1] < left[-2]:
        office.town.service.sweep()
        left.append(len(office.kept()))
        assert office.admin.audit().findings == ()
    assert all(before - after <= 10 for before, after in pairwise(left))
    assert left[-1] == 2, "the grant, and the last movement"


def test_nothing_is_polled_before_there_can_be_news() -> None:
    store, calls, clock = MemoryStore(), list[str](), [1000.0]

    def begin() -> UnitOfWork:
        calls.append("begin")
        return store.unit_of_work()

    folding = Folding(begin, lambda: clock[0], 500.0)
    folding.sweep()
    folding.sweep()
    assert len(calls) == 1
    with store.unit_of_work() as uow:
        for number in range(3):
            uow.ledger.post(
                [Transfer(id=f"{number}", debit=MINT, credit="user:a", amount=1, reason=Reason.REFUND, at=1400.0)]
            )
        uow.commit()
    for at, looks in ((1499.0, 1), (1500.0, 2), (1899.0, 2), (1900.5, 3)):
        clock[0] = at
        folding.sweep()
        assert len(calls) == looks, at
    with store.unit_of_work() as uow:
        assert len(uow.ledger.transfers()) == 1
