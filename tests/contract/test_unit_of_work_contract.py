"""What every storage of the discovery service has to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.adapters.sql.unit_of_work import SqlDatabase
from ec262.domain import ledger
from ec262.domain.accounts import Account, token_digest
from ec262.domain.commands import TaskState, WorkerAddress
from ec262.domain.errors import DiscoveryUnavailable, LedgerError
from ec262.domain.ledger import MINT, Reason, Transfer
from ec262.domain.pool import Member
from ec262.domain.ports.unit_of_work import Holdings, UnitOfWork, UnitOfWorkFactory
from ec262.domain.purchases import PurchaseRecord
from ec262.domain.tasks import Replica, Task, commit, expire, give_up
from tests.discovery_town import FINGERPRINT, OTHER_PYTHON, digest, runtime


@pytest.fixture(params=["memory", "sqlite"])
def unit_of_work(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UnitOfWorkFactory]:
    if request.param == "memory":
        yield MemoryStore().unit_of_work
    else:
        database = SqlDatabase(f"sqlite:///{tmp_path / 'discovery.sqlite'}")
        yield database.unit_of_work
        database.close()


def account(name: str) -> Account:
    return Account(id=name, token_digest=token_digest(name * 8), opened_at=12.5)


def with_accounts(uow: UnitOfWork, *names: str) -> None:
    for name in names or ("boss1", "work1", "work2", "work3"):
        uow.accounts.add(account(name))


def member(worker: str, *, expires_at: float = 100.0, slots: int = 2) -> Member:
    return Member(
        worker=worker,
        address=WorkerAddress(host="::1", port=4000, fingerprint=FINGERPRINT),
        runtime=runtime(python=OTHER_PYTHON),
        packages=frozenset({"scipy", "numpy"}),
        slots=slots,
        expires_at=expires_at,
    )


def task(name: str = "task1", *, deadline: float = 100.0, foreman: str = "boss1", purchase: str = "p1") -> Task:
    return Task(
        id=name,
        foreman=foreman,
        purchase=purchase,
        rule="majority:3",
        deadline=deadline,
        forgotten_at=deadline + 50,
        key=b"\x00key" * 8,
        replicas=tuple(
            Replica(
                worker=worker,
                address=WorkerAddress(host="h", port=port, fingerprint=FINGERPRINT),
                secret=worker.encode() * 6,
                delivery_secret=worker.encode() * 5,
            )
            for port, worker in enumerate(["work2", "work1", "work3"], 1)
        ),
    )


def after(given: Task, *workers: str) -> Task:
    for worker in workers:
        given, _ = commit(given, worker=worker, digest=digest("a"), now=0)
    return given


def transfer(name: str, debit: str, credit: str, amount: int) -> Transfer:
    return Transfer(id=name, debit=debit, credit=credit, amount=amount, reason=Reason.PURCHASE, task="task1", at=7.25)


# --- transactions ---------------------------------------------------------------------------------------------------


def test_what_was_not_committed_never_was(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.ledger.post(ledger.grant("boss1", 12, at=0))
        uow.pool.put(member("work1"))
        uow.tasks.add(task())
        uow.commit()
    with unit_of_work() as uow:
        uow.accounts.add(account("other"))
        uow.ledger.post(transfer("t", "user:boss1", "escrow:task1", 12))
        uow.pool.remove("work1")
        uow.pool.put(member("work2"))
        uow.tasks.save(after(task(), "work1", "work2"))
    with unit_of_work() as uow:
        assert uow.accounts.by_token(account("other").token_digest) is None
        assert uow.ledger.balances() == {"user:boss1": 12, MINT: -12}
        assert len(uow.ledger.transfers()) == 1
        assert [each.worker for each in uow.pool.alive(0)] == ["work1"]
        assert uow.tasks.find(["task1"]) == [task()]


def test_an_error_undoes_too(unit_of_work: UnitOfWorkFactory) -> None:
    def fail() -> None:
        with unit_of_work() as uow:
            with_accounts(uow)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with unit_of_work() as uow:
        assert uow.accounts.by_token(account("boss1").token_digest) is None


def test_each_commit_makes_durable_what_came_before_it(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow, "boss1")
        uow.commit()
        with_accounts(uow, "work1")
        uow.commit()
        with_accounts(uow, "work2")
    with unit_of_work() as uow:
        found = [uow.accounts.by_token(account(name).token_digest) for name in ("boss1", "work1", "work2")]
    assert found == [account("boss1"), account("work1"), None]


def spend_everything(*factories: UnitOfWorkFactory) -> None:
    """Many threads read a balance and spend by what they read: none spends what another has."""
    with factories[0]() as uow:
        uow.ledger.post(ledger.grant("boss1", 10, at=0))
        uow.commit()
    failures: list[Exception] = []

    def spend(name: str, factory: UnitOfWorkFactory) -> None:
        try:
            for step in range(5):
                with factory() as uow:
                    if uow.ledger.balance("user:boss1") > 0:
                        uow.ledger.post(transfer(f"{name}-{step}", "user:boss1", "service", 1))
                    uow.commit()
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    threads = [
        threading.Thread(target=spend, args=(f"thread-{number}", factories[number % len(factories)]))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with factories[0]() as uow:
        assert uow.ledger.balances() == {MINT: -10, "service": 10}


def test_transactions_exclude_each_other(unit_of_work: UnitOfWorkFactory) -> None:
    spend_everything(unit_of_work)


def test_transactions_exclude_those_of_other_processes(tmp_path: Path) -> None:
    databases = [SqlDatabase(f"sqlite:///{tmp_path / 'discovery.sqlite'}") for _ in range(2)]
    spend_everything(*(database.unit_of_work for database in databases))
    for database in databases:
        database.close()


# --- accounts -------------------------------------------------------------------------------------------------------


def test_accounts_are_found_by_their_token(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        assert uow.accounts.by_token(account("work1").token_digest) == account("work1")
        assert uow.accounts.by_token(b"\x00" * 32) is None


# --- ledger ---------------------------------------------------------------------------------------------------------


def test_transfers_move_balances_and_are_kept(unit_of_work: UnitOfWorkFactory) -> None:
    first, second = ledger.grant("boss1", 12, at=3), transfer("t1", "user:boss1", "escrow:task1", 12)
    with unit_of_work() as uow:
        uow.ledger.post(first)
        assert (uow.ledger.balance("user:boss1"), uow.ledger.balance("escrow:task1")) == (12, 0)
        uow.ledger.post(second)
        assert uow.ledger.balances() == {MINT: -12, "escrow:task1": 12}
        assert uow.ledger.transfers() == [first, second]
        assert [each.at for each in uow.ledger.transfers()] == [3, 7.25]


def test_an_id_is_one_movement(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        uow.ledger.post(ledger.grant("boss1", 12, at=0))
        uow.ledger.post(ledger.grant("boss1", 12, at=99))
        assert uow.ledger.balance("user:boss1") == 12
        assert len(uow.ledger.transfers()) == 1


def test_an_id_is_not_two_movements(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        uow.ledger.post(ledger.grant("boss1", 12, at=0))
        with pytest.raises(LedgerError, match="was another"):
            uow.ledger.post(ledger.grant("boss1", 13, at=0))


def test_nobody_overdraws(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        uow.ledger.post(ledger.grant("boss1", 2, at=0))
        with pytest.raises(LedgerError, match="overdrawn"):
            uow.ledger.post(transfer("t1", "user:boss1", "escrow:task1", 3))
        assert uow.ledger.balances() == {MINT: -2, "user:boss1": 2}
        assert len(uow.ledger.transfers()) == 1


# --- pool -----------------------------------------------------------------------------------------------------------


def test_leases_are_kept_as_they_were_told(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.pool.put(member("work2"))
        uow.pool.put(member("work1"))
        assert uow.pool.alive(99.5) == [member("work1"), member("work2")]
        assert uow.pool.get("work1") == member("work1")
        assert uow.pool.get("boss1") is None


def test_a_worker_has_one_lease(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.pool.put(member("work1"))
        uow.pool.put(member("work1", slots=7, expires_at=200))
        assert uow.pool.alive(0) == [member("work1", slots=7, expires_at=200)]


def test_leases_end(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.pool.put(member("work1", expires_at=100))
        uow.pool.put(member("work2", expires_at=101))
        assert uow.pool.alive(100) == [member("work2", expires_at=101)]
        assert uow.pool.get("work1") is not None
        uow.pool.purge(100)
        assert uow.pool.get("work1") is None
        uow.pool.remove("work2")
        uow.pool.remove("work2")
        assert uow.pool.alive(0) == []


# --- tasks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        after(task(), "work3"),
        after(task(), "work3", "work2"),
        after(task(), "work3", "work2", "work1"),
        expire(task(), now=100)[0],
        expire(after(task(), "work3", "work2"), now=100)[0],
    ],
    ids=["committed", "won", "all paid", "refunded", "settled"],
)
def test_tasks_are_kept_as_they_are(unit_of_work: UnitOfWorkFactory, changed: Task) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add(task())
        uow.commit()
        assert uow.tasks.find(["task1"]) == [task()]
        uow.tasks.save(changed)
        uow.commit()
    with unit_of_work() as uow:
        assert uow.tasks.find(["task1"]) == [changed]


def test_tasks_are_found_in_order_of_their_ids_and_once(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        for name, purchase in [("task3", "p1"), ("task1", "p1"), ("task2", "p2")]:
            uow.tasks.add(task(name, purchase=purchase))
        found = uow.tasks.find(["task2", "nope", "task1", "task2"])
        assert [each.id for each in found] == ["task1", "task2"]
        assert [each.id for each in uow.tasks.of_purchase("p1")] == ["task1", "task3"]
        assert uow.tasks.of_purchase("p3") == []
        assert uow.tasks.find([]) == []


def test_due_are_those_whose_deadline_was_not_applied(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add(task("task1", deadline=10))
        uow.tasks.add(task("task2", deadline=20))
        uow.tasks.add(task("task3", deadline=30))
        uow.tasks.save(after(task("task2", deadline=20), "work1", "work2"))
        assert uow.tasks.due(9.5, limit=9) == []
        assert {each.id for each in uow.tasks.due(20, limit=9)} == {"task1", "task2"}
        assert len(uow.tasks.due(30, limit=2)) == 2
        for due in uow.tasks.due(30, limit=9):
            uow.tasks.save(expire(due, now=30)[0])
        assert uow.tasks.due(1e9, limit=9) == []


def test_busy_are_those_whose_commitment_an_open_task_awaits(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        assert uow.tasks.busy() == {}
        uow.tasks.add(task("task1"))
        uow.tasks.add(task("task2"))
        assert uow.tasks.busy() == {"work1": 2, "work2": 2, "work3": 2}
        uow.tasks.save(after(task("task1"), "work1"))
        assert uow.tasks.busy() == {"work1": 1, "work2": 2, "work3": 2}
        uow.tasks.save(after(task("task1"), "work1", "work2"))
        assert uow.tasks.busy() == {"work1": 1, "work2": 1, "work3": 1}
        uow.tasks.save(expire(task("task2"), now=100)[0])
        assert uow.tasks.busy() == {}


def test_who_gave_up_is_not_busy(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add(task("task1"))
        given_up = give_up(task("task1"), worker="work2")
        uow.tasks.save(given_up)
        assert uow.tasks.busy() == {"work1": 1, "work3": 1}
        assert uow.tasks.find(["task1"]) == [given_up]


def test_holdings_are_the_foremans_escrows(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        assert uow.tasks.holdings("boss1") == Holdings(tasks=0, credits=0)
        uow.tasks.add(task("task1"))
        uow.tasks.add(task("task2"))
        uow.tasks.add(task("task3", foreman="work1"))
        assert uow.tasks.holdings("boss1") == Holdings(tasks=2, credits=6)
        uow.tasks.save(after(task("task1"), "work1", "work2"))
        assert uow.tasks.holdings("boss1") == Holdings(tasks=2, credits=4)
        uow.tasks.add(task("task4"))
        uow.tasks.save(after(task("task4"), "work1", "work2", "work3"))
        assert uow.tasks.holdings("boss1") == Holdings(tasks=2, credits=4)  # all of task4 is paid
        uow.tasks.save(expire(task("task2"), now=100)[0])
        assert uow.tasks.holdings("boss1") == Holdings(tasks=1, credits=1)


def test_forgotten_are_those_whose_time_is_over_and_deadline_applied(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add(task("task1", deadline=10))
        uow.tasks.add(task("task2", deadline=10))
        uow.tasks.add(task("task3", deadline=11))
        for name, deadline in [("task1", 10.0), ("task3", 11.0)]:
            uow.tasks.save(expire(task(name, deadline=deadline), now=20)[0])
        uow.tasks.forget(60)
        assert [each.id for each in uow.tasks.find(["task1", "task2", "task3"])] == ["task2", "task3"]


# --- purchases ------------------------------------------------------------------------------------------------------


def purchase(name: str, *, price: int, forgotten_at: float = 10) -> PurchaseRecord:
    return PurchaseRecord(
        id=name,
        foreman="boss1",
        command_digest=digest(name),
        tasks=price // 3,
        price=price,
        credits=5,
        shortfall="none offers numpy",
        forgotten_at=forgotten_at,
    )


def test_purchases_are_kept_if_they_moved_credits(unit_of_work: UnitOfWorkFactory) -> None:
    paid, empty, recent = purchase("p1", price=3), purchase("p2", price=0), purchase("p3", price=0, forgotten_at=11)
    with unit_of_work() as uow:
        with_accounts(uow)
        for record in (paid, empty, recent):
            uow.purchases.add(record)
        assert uow.purchases.get("p2") == empty
        uow.purchases.forget(10)
        assert [uow.purchases.get(name) for name in ("p1", "p2", "p3", "p4")] == [paid, None, recent, None]


# --- what the database itself refuses -------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqlDatabase]:
    database = SqlDatabase(f"sqlite:///{tmp_path / 'discovery.sqlite'}")
    with database.unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add(task())
        uow.commit()
    yield database
    database.close()


@pytest.mark.parametrize(
    "broken",
    [
        attrs.evolve(task(), key=None),
        attrs.evolve(task(), state=TaskState.REFUNDED),
        attrs.evolve(task(), state=TaskState.WON),
        attrs.evolve(task(), digest=digest("a")),
    ],
    ids=["open without key", "refunded with key", "won without digest", "open with digest"],
)
def test_refund_and_key_exclude_each_other_in_the_schema(database: SqlDatabase, broken: Task) -> None:
    with database.unit_of_work() as uow, pytest.raises(LedgerError, match="breaks its rules"):
        uow.tasks.save(broken)


def test_strangers_have_no_tasks_in_the_schema(database: SqlDatabase) -> None:
    with database.unit_of_work() as uow, pytest.raises(LedgerError) as caught:
        uow.tasks.add(task("task2", foreman="nobody"))
    assert task().replicas[0].secret.decode() not in str(caught.value.__cause__)


def test_a_database_that_is_gone_is_told_and_blocks_nobody(database: SqlDatabase, tmp_path: Path) -> None:
    file, aside = tmp_path / "discovery.sqlite", tmp_path / "aside"
    database.close()
    file.rename(aside)
    file.mkdir()
    for _ in range(2):
        with pytest.raises(DiscoveryUnavailable), database.unit_of_work() as uow:
            uow.ledger.balances()
    file.rmdir()
    aside.rename(file)
    with database.unit_of_work() as uow:
        assert uow.tasks.find(["task1"]) == [task()]
