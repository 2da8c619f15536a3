"""What every storage of the 2012 API has to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from ec262.adapters.memory.unit_of_work_2012 import MemoryStore2012
from ec262.adapters.sql.legacy_2012.sql_unit_of_work_2012 import Sql2012
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.errors import DiscoveryUnavailable, LedgerError
from ec262.domain.legacy_2012 import ledger_2012
from ec262.domain.legacy_2012.addresses_2012 import Endpoint2012
from ec262.domain.legacy_2012.clients_2012 import Client
from ec262.domain.legacy_2012.ledger_2012 import Entry, Reason2012, Totals
from ec262.domain.legacy_2012.tasks_2012 import Task2012
from ec262.domain.legacy_2012.unit_of_work_2012 import UnitOfWork2012, UnitOfWork2012Factory


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def storages(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[UnitOfWork2012Factory]]:
    """The ways into one storage: one for each process that has it open."""
    if request.param == "memory":
        yield [MemoryStore2012().unit_of_work] * 2
        return
    url = f"sqlite:///{tmp_path / 'discovery.sqlite'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    databases = [SqlDatabase(url), SqlDatabase(url)]
    yield [Sql2012(database.engine).unit_of_work for database in databases]
    for database in databases:
        database.close()


@pytest.fixture
def unit_of_work(storages: list[UnitOfWork2012Factory]) -> UnitOfWork2012Factory:
    return storages[0]


def client(number: int, *, credits: int = 12, pooled: bool = True, expires_at: float = 100.0) -> Client:
    return Client(
        addr=f"10.0.0.{number}",
        credits=credits,
        port=4000 + number,
        expires_at=expires_at,
        pooled=pooled,
        tasks_completed=number,
        tasks_failed=0,
    )


def with_clients(uow: UnitOfWork2012, count: int = 6) -> None:
    for number in range(1, count + 1):
        uow.clients.add(client(number))


def task(
    name: str = "a", *, expires_at: float = 50.0, workers: tuple[int, ...] = (3, 1, 2), foreman: int = 6
) -> Task2012:
    return Task2012(
        id=name * 32,
        foreman=f"10.0.0.{foreman}",
        key=b"\x00key" * 4,
        expires_at=expires_at,
        workers=tuple(Endpoint2012(addr=f"10.0.0.{number}", port=5000 + number) for number in workers),
    )


# --- transactions ---------------------------------------------------------------------------------------------------


def test_uncommitted_changes_are_lost(unit_of_work: UnitOfWork2012Factory) -> None:
    with unit_of_work() as uow:
        with_clients(uow)
        uow.tasks.add([task("a")])
        uow.commit()
    with unit_of_work() as uow:
        uow.clients.add(client(7))
        uow.clients.save([client(1, credits=99)])
        uow.clients.take(["10.0.0.2"])
        uow.tasks.remove([task("a").id])
        uow.tasks.add([task("b")])
        uow.ledger.post(ledger_2012.grant("10.0.0.1", 12, at=0))
    with unit_of_work() as uow:
        assert uow.clients.get("10.0.0.7") is None
        assert uow.clients.get("10.0.0.1") == client(1)
        assert len(uow.clients.pool(0)) == 6
        assert uow.tasks.get(task("a").id) == task("a")
        assert uow.tasks.get(task("b").id) is None
        assert uow.ledger.history("10.0.0.1") == []


def test_an_error_undoes_too(unit_of_work: UnitOfWork2012Factory) -> None:
    def fail() -> None:
        with unit_of_work() as uow:
            uow.clients.add(client(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with unit_of_work() as uow:
        assert uow.clients.get("10.0.0.1") is None


def test_units_of_work_exclude_each_other(storages: list[UnitOfWork2012Factory]) -> None:
    with storages[0]() as uow:
        uow.clients.add(client(1, credits=0))
        uow.commit()

    def earn(unit_of_work: UnitOfWork2012Factory) -> None:
        for _ in range(10):
            with unit_of_work() as uow:
                (known,) = uow.clients.find(["10.0.0.1"])
                uow.clients.save([attrs.evolve(known, credits=known.credits + 1)])
                uow.commit()

    threads = [threading.Thread(target=earn, args=(storage,)) for storage in storages * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with storages[1]() as uow:
        (known,) = uow.clients.find(["10.0.0.1"])
        assert known.credits == 40


def test_a_unit_of_work_waits_for_the_one_before(storages: list[UnitOfWork2012Factory]) -> None:
    seen: list[Client | None] = []

    def look() -> None:
        with storages[1]() as uow:
            seen.append(uow.clients.get("10.0.0.1"))

    with storages[0]() as uow:
        assert uow.clients.get("10.0.0.1") is None
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(0.2)
        assert seen == []
        uow.clients.add(client(1))
        uow.commit()
    thread.join()
    assert seen == [client(1)]


# --- clients --------------------------------------------------------------------------------------------------------


def test_clients_are_kept_as_they_are(unit_of_work: UnitOfWork2012Factory) -> None:
    bare = Client(addr="fe80::1%eth0")
    with unit_of_work() as uow:
        uow.clients.add(client(1))
        uow.clients.add(bare)
        uow.commit()
    changed = client(1, credits=10**12, pooled=False, expires_at=1_795_330_784.123456)
    with unit_of_work() as uow:
        assert uow.clients.get(bare.addr) == bare
        assert uow.clients.get("10.0.0.9") is None
        uow.clients.save([changed])
        uow.clients.save([])
        uow.commit()
    with unit_of_work() as uow:
        assert uow.clients.find([bare.addr, "10.0.0.1", "10.0.0.9"]) == [changed, bare]
        assert uow.clients.find([]) == []


def test_the_pool_is_who_is_in_it_and_whose_lease_lasts(unit_of_work: UnitOfWork2012Factory) -> None:
    with unit_of_work() as uow:
        for number, pooled, expires_at in ((3, True, 10.5), (1, True, 10.0), (2, False, 99.0), (4, True, 99.0)):
            uow.clients.add(client(number, pooled=pooled, expires_at=expires_at))
        uow.clients.add(Client(addr="10.0.0.5"))
        pool = uow.clients.pool(10.0)
        assert pool == [Endpoint2012(addr="10.0.0.3", port=4003), Endpoint2012(addr="10.0.0.4", port=4004)]
        uow.clients.take([pool[0].addr, "10.0.0.9"])
        uow.clients.take([])
        assert uow.clients.pool(10.0) == [pool[1]]
        assert uow.clients.get("10.0.0.3") == client(3, pooled=False, expires_at=10.5)
        uow.clients.save([client(3)])
        assert uow.clients.pool(10.0) == [Endpoint2012(addr="10.0.0.3", port=4003), pool[1]]


def test_there_is_no_limit_to_how_many_are_asked_for(unit_of_work: UnitOfWork2012Factory) -> None:
    with unit_of_work() as uow:
        with_clients(uow)
        many = [f"10.0.0.{number}" for number in range(70_000)]
        assert [found.addr for found in uow.clients.find(many)] == [f"10.0.0.{number}" for number in range(1, 7)]
        uow.clients.take(many)
        assert uow.clients.pool(0) == []


# --- tasks ----------------------------------------------------------------------------------------------------------


def test_tasks_are_kept_as_they_are(unit_of_work: UnitOfWork2012Factory) -> None:
    with unit_of_work() as uow:
        with_clients(uow)
        uow.tasks.add([task("a"), task("b", workers=(4, 5), foreman=1)])
        uow.tasks.add([])
        uow.commit()
    with unit_of_work() as uow:
        assert uow.tasks.get(task("a").id) == task("a")
        assert uow.tasks.get(task("b").id) == task("b", workers=(4, 5), foreman=1)
        assert uow.tasks.get(task("c").id) is None
        uow.tasks.remove([task("a").id])
        uow.tasks.remove([])
        assert uow.tasks.get(task("a").id) is None
        assert uow.tasks.get(task("b").id) is not None


def test_tasks_are_due_at_their_end(unit_of_work: UnitOfWork2012Factory) -> None:
    with unit_of_work() as uow:
        with_clients(uow)
        tasks = [task(name, expires_at=at) for name, at in (("a", 30.0), ("b", 10.0), ("c", 20.5), ("d", 30.5))]
        uow.tasks.add(tasks)
        assert uow.tasks.due(9.9, limit=9) == []
        assert uow.tasks.due(30.0, limit=9) == [tasks[1], tasks[2], tasks[0]]
        assert uow.tasks.due(99.0, limit=2) == [tasks[1], tasks[2]]


# --- books ----------------------------------------------------------------------------------------------------------


def test_lines_are_kept_in_order(unit_of_work: UnitOfWork2012Factory) -> None:
    lines = [
        *ledger_2012.grant("10.0.0.6", 12, at=0.5),
        ledger_2012.purchase(task(), at=1.5),
        ledger_2012.refund(task(), at=2.5),
    ]
    with unit_of_work() as uow:
        with_clients(uow)
        uow.ledger.post(lines)
        uow.ledger.post(ledger_2012.payments(task(), at=3.5))
        uow.ledger.post([])
        uow.commit()
    with unit_of_work() as uow:
        assert uow.ledger.history("10.0.0.6") == lines
        assert uow.ledger.history("10.0.0.1") == [
            Entry(
                id=f"pay:{task().id}:10.0.0.1",
                client="10.0.0.1",
                amount=1,
                reason=Reason2012.PAY,
                task=task().id,
                at=3.5,
            )
        ]
        assert uow.ledger.history("10.0.0.9") == []


def test_a_line_is_never_written_twice(unit_of_work: UnitOfWork2012Factory) -> None:
    with unit_of_work() as uow:
        with_clients(uow)
        uow.ledger.post([ledger_2012.refund(task(), at=1)])
        with pytest.raises(LedgerError):
            uow.ledger.post([ledger_2012.refund(task(), at=2)])


def test_totals_and_who_does_not_balance(unit_of_work: UnitOfWork2012Factory) -> None:
    with unit_of_work() as uow:
        assert uow.ledger.totals() == Totals(credits=0, escrow=0, granted=0)
        assert uow.ledger.unbalanced() == []
        with_clients(uow, 6)
        assert uow.ledger.unbalanced() == [f"10.0.0.{number}" for number in range(1, 7)]
        for number in range(1, 7):
            uow.ledger.post(ledger_2012.grant(f"10.0.0.{number}", 12, at=0))
        assert uow.ledger.unbalanced() == []
        uow.tasks.add([task("a"), task("b", workers=(4, 5))])
        assert uow.ledger.totals() == Totals(credits=72, escrow=5, granted=72)
        uow.ledger.post([ledger_2012.purchase(task("a"), at=0)])
        assert uow.ledger.unbalanced() == ["10.0.0.6"]
        uow.clients.save([client(6, credits=9)])
        assert uow.ledger.unbalanced() == []
        assert uow.ledger.totals() == Totals(credits=69, escrow=5, granted=72)


# --- databases ------------------------------------------------------------------------------------------------------


def test_tables_refuse_what_must_not_be(tmp_path: Path) -> None:
    database = SqlDatabase(f"sqlite:///{tmp_path / 'discovery.sqlite'}")
    storage = Sql2012(database.engine)

    def refused(*, twice: bool = False, nowhere: bool = False, stranger: bool = False) -> None:
        with storage.unit_of_work() as uow:
            with_clients(uow)
            if twice:
                uow.tasks.add([task(workers=(1, 1, 2))])
            if nowhere:
                uow.clients.save([attrs.evolve(client(1), port=None)])
            if stranger:
                uow.tasks.add([task(workers=(1, 2, 99))])

    for case in ("twice", "nowhere", "stranger"):
        with pytest.raises(LedgerError):
            refused(**{case: True})
    database.close()


def test_a_lost_database_is_reported_without_the_query(tmp_path: Path) -> None:
    database = SqlDatabase(f"sqlite:///{tmp_path / 'discovery.sqlite'}")
    storage = Sql2012(database.engine)
    with storage.unit_of_work() as uow, database.engine.connect() as other:
        with_clients(uow)
        uow.commit()
        other.exec_driver_sql("DROP TABLE entries_2012")
        other.commit()
    with (
        storage.unit_of_work() as uow,
        pytest.raises(DiscoveryUnavailable) as raised,
    ):
        uow.ledger.history("10.0.0.1")
    assert "10.0.0.1" not in str(raised.value)
    with storage.unit_of_work() as uow:  # and the next one has its turn
        assert uow.clients.get("10.0.0.1") == client(1)
    database.close()
