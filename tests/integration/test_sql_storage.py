"""What is particular to databases: what they refuse by themselves, files, servers, and how fast they find things."""

from __future__ import annotations

import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from sqlalchemy import ClauseElement, event

from ec262.adapters.sql import task_tables
from ec262.adapters.sql.engine.statements import NOTHING, Statements, Values
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.discovery.tasks import Task, expire, fetch
from ec262.domain.errors import ConfigurationError, DiscoveryUnavailable, LedgerError, StorageDamaged
from ec262.domain.verification.task_state import TaskState
from tests.discovery_town import build_town, digest, order
from tests.postgres import PostgresServer
from tests.stored import account, after, member, replica, task, token, transfer, with_accounts


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'discovery.sqlite'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
def database(url: str) -> Iterator[SqlDatabase]:
    database = SqlDatabase(url)
    with database.unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([task()])
        uow.commit()
    yield database
    database.close()


# --- what the database itself refuses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        attrs.evolve(task(), key=None),
        attrs.evolve(task(), state=TaskState.REFUNDED),
        attrs.evolve(task(), state=TaskState.DISPUTED, key=None),
        attrs.evolve(task(), state=TaskState.WON),
        attrs.evolve(task(), digest=digest("a")),
        attrs.evolve(task(), replicas=(attrs.evolve(replica("work2"), paid=True),)),
        attrs.evolve(task(), replicas=(attrs.evolve(replica("work2"), arrival=0),)),
        attrs.evolve(task(), replicas=(attrs.evolve(replica("work2"), digest=digest("a"), arrival=0, given_up=True),)),
    ],
    ids=[
        "open without key",
        "refunded with key",
        "disputed without key",
        "won without digest",
        "open with digest",
        "paid for nothing",
        "arrived with nothing",
        "given up and committed",
    ],
)
def test_the_schema_refuses_tasks_that_no_rule_makes(database: SqlDatabase, broken: Task) -> None:
    with database.unit_of_work() as uow:
        uow.tasks.save([broken])
        with pytest.raises(LedgerError, match="breaks its rules"):
            uow.commit()


def test_the_schema_refuses_strangers_and_tells_no_secrets(database: SqlDatabase) -> None:
    with database.unit_of_work() as uow:
        uow.tasks.add([task("task2", foreman="nobody")])
        with pytest.raises(LedgerError) as caught:
            uow.commit()
    assert "x00key" not in str(caught.value.__cause__)


def test_the_schema_refuses_debts(database: SqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The domain's rule comes first; should it break, this is what is left."""
    monkeypatch.setattr(
        "ec262.adapters.sql.ledger_tables.moved", lambda _before, _transfer: {"user:boss1": -1, "escrow:task1": 1}
    )
    with database.unit_of_work() as uow:
        uow.ledger.post([transfer("t1", "user:boss1", "escrow:task1", 1)])
        with pytest.raises(LedgerError, match="breaks its rules"):
            uow.commit()


# --- SQLite ---------------------------------------------------------------------------------------------------------


def test_a_file_and_its_companions_are_their_owners(sqlite_url: str, tmp_path: Path) -> None:
    database = SqlDatabase(sqlite_url)
    with database.unit_of_work() as uow:
        with_accounts(uow)
        uow.commit()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["discovery.sqlite", "discovery.sqlite-wal", "discovery.sqlite-shm"], 0o600)
    database.close()


def test_the_keys_of_refunded_and_forgotten_tasks_are_gone_from_the_file(sqlite_url: str, tmp_path: Path) -> None:
    database = SqlDatabase(sqlite_url)
    kept, lost = b"kept key".ljust(32, b"+"), b"lost key".ljust(32, b"-")
    refunded = [attrs.evolve(task(f"refunded{number}"), key=lost) for number in range(20)]
    forgotten = [attrs.evolve(after(task(f"old{number}"), "work1", "work2"), key=lost) for number in range(20)]
    with database.unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([attrs.evolve(task(), key=kept), *refunded, *forgotten])
        uow.commit()
        uow.tasks.save([expire(each, now=100)[0] for each in refunded + forgotten])
        uow.commit()
        uow.tasks.forget(150)
        uow.commit()
    database.close()
    (file,) = tmp_path.iterdir()
    assert kept in file.read_bytes()
    assert lost not in file.read_bytes()


def test_a_missing_file_is_reported_and_blocks_nobody(sqlite_url: str, tmp_path: Path) -> None:
    database = SqlDatabase(sqlite_url)
    database.close()
    file, aside = tmp_path / "discovery.sqlite", tmp_path / "aside"
    file.rename(aside)
    file.mkdir()
    for _ in range(2):
        with pytest.raises(DiscoveryUnavailable), database.unit_of_work():
            pass
    file.rmdir()
    aside.rename(file)
    with database.unit_of_work() as uow:
        assert uow.ledger.balances() == {}
    database.close()


def test_every_table_that_grows_is_searched_by_an_index(sqlite_url: str, tmp_path: Path) -> None:
    """SQLite tells how it would carry out what a busy day asks for: it never reads all of such a table."""
    database = SqlDatabase(sqlite_url)
    asked: set[str] = set()
    event.listen(database.engine, "connect", lambda connection, _record: connection.set_trace_callback(asked.add))
    database.close()  # connections that are there are not listened to
    town = build_town(workers=4, unit_of_work=database.unit_of_work)
    bought = town.buy_one()
    for position in range(3):
        town.assignment(town.tokens[bought.replicas[position].worker], bought.task)
        town.commit(bought, position, "a")
    town.verdict(bought)
    town.buy(order("purchase-2"))
    town.clock.advance(31 * 24 * 3600)
    town.service.sweep()
    with database.unit_of_work() as uow:
        uow.ledger.statement("user:boss1", before=None, limit=9)
        uow.ledger.statement("user:boss1", before=5, limit=9)
    database.close()
    told = sqlite3.connect(tmp_path / "discovery.sqlite")
    plans = {
        statement: "\n".join(row[3] for row in told.execute(f"EXPLAIN QUERY PLAN {statement}"))
        for statement in asked
        if statement.startswith(("SELECT", "UPDATE", "DELETE"))
    }
    told.close()
    grows = ("tasks", "replicas", "transfers", "balances", "purchases", "tokens", "accounts", "standings", "folds")
    # This index has the replicas that are under way, and no others: to read all of it is to read no more than needed.
    partial = "SCAN replicas USING INDEX replicas_under_way"
    scans = [
        plan
        for plan in plans.values()
        if any(f"SCAN {table}" in plan.replace(partial, "") for table in grows) or "KEY (rowid<" in plan
    ]
    assert scans == []
    assert len(plans) > 20


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def test_concurrent_duplicates_are_asked_to_retry(postgres_url: str) -> None:
    database = SqlDatabase(postgres_url)
    told: list[Exception] = []

    def open_the_same_account() -> None:
        try:
            with database.unit_of_work() as uow:
                uow.accounts.add(account("twin2"), token("same"))
        except DiscoveryUnavailable as error:
            told.append(error)

    with database.unit_of_work() as uow:
        uow.accounts.add(account("twin1"), token("same"))
        twin = threading.Thread(target=open_the_same_account)
        twin.start()
        uow.commit()
    twin.join()
    with database.unit_of_work() as uow:
        assert uow.accounts.by_token(token("same")) == account("twin1")
    assert [str(error) for error in told] == ["the call conflicted with another one: repeat it"]
    database.close()


def test_deadlocks_end_and_are_reported(postgres_url: str) -> None:
    """Two lock each other's balance, against the order in which units of work do it by themselves."""
    database = SqlDatabase(f"{postgres_url}&options=-c%20deadlock_timeout%3D20ms")
    both = threading.Barrier(2)
    told: list[Exception] = []

    def lock(*accounts: str) -> None:
        try:
            with database.unit_of_work() as uow:
                for name in accounts:
                    uow.ledger.locked_balance(name)
                    both.wait(10)
        except DiscoveryUnavailable as error:
            told.append(error)
            both.abort()
        except threading.BrokenBarrierError:
            pass

    threads = [threading.Thread(target=lock, args=names) for names in (("user:a", "user:b"), ("user:b", "user:a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 1
    database.close()


def test_waiting_too_long_for_a_lock_is_reported(postgres_url: str) -> None:
    database = SqlDatabase(f"{postgres_url}&options=-c%20lock_timeout%3D20ms")
    with database.unit_of_work() as uow:
        uow.pool.lock()
        with database.unit_of_work() as other, pytest.raises(DiscoveryUnavailable, match="conflicted with another"):
            other.pool.lock()
    database.close()


def test_a_lease_that_is_being_renewed_is_not_purged(postgres_url: str) -> None:
    database = SqlDatabase(postgres_url)
    with database.unit_of_work() as uow:
        with_accounts(uow)
        uow.pool.put(member("work1", expires_at=10))
        uow.pool.put(member("work2", expires_at=10))
        uow.commit()
    with database.unit_of_work() as renewing:
        renewing.pool.put(member("work1", expires_at=20))
        with database.unit_of_work() as purging:
            purging.pool.purge(15)
            purging.commit()
        renewing.commit()
    with database.unit_of_work() as uow:
        assert [each.worker for each in uow.pool.alive(0)] == ["work1"]
    database.close()


def test_a_server_that_restarts_is_found_again(postgres_server: PostgresServer, postgres_url: str) -> None:
    database = SqlDatabase(postgres_url)
    with database.unit_of_work() as uow:
        with_accounts(uow)
        uow.commit()
        uow.accounts.add(account("late"), token("late"))
        postgres_server.restart()
        with pytest.raises(DiscoveryUnavailable):
            uow.commit()
    with database.unit_of_work() as uow:
        assert uow.accounts.get("boss1") == account("boss1")
        assert uow.accounts.get("late") is None
    database.close()


def test_tasks_are_read_at_one_moment(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else decides the task as soon as the first question of a reader is answered."""
    reader, writer = SqlDatabase(postgres_url), SqlDatabase(postgres_url)
    open_task, won = task(), after(task(), "work1", "work2")
    with writer.unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([open_task])
        uow.commit()

    def fetched(self: Statements, statement: ClauseElement, parameters: Values = NOTHING) -> Sequence[Any]:
        rows = original(self, statement, parameters)
        monkeypatch.undo()
        with writer.unit_of_work() as uow:
            uow.tasks.save([attrs.evolve(won) for _ in uow.tasks.locked(["task1"])])
            uow.commit()
        return rows

    original = Statements.fetch
    monkeypatch.setattr(Statements, "fetch", fetched)
    with reader.unit_of_work() as uow:
        assert uow.tasks.find(["task1"]) == [open_task]
        assert uow.tasks.of_purchase("p1") == [won]
    for database in (reader, writer):
        database.close()


# --- opening --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("no url", "cannot be read"),
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite:///a.sqlite?mode=ro", "takes no parameters"),
        ("mysql://me:hunter2@host/db", "mysql is not supported"),
        ("postgresql+asyncpg://me:hunter2@host/db", "asyncpg is not supported"),
        ("postgresql://me:hunter2@127.0.0.1:1/db", "refused"),
        ("postgresql+psycopg://me@127.0.0.1:1/db?password=hunter2", "refused"),
        ("postgresql://me:hunter2@127.0.0.1:port/db", "cannot be read"),
        ("sqlite:////no/such/folder/discovery.sqlite", "No such file"),
    ],
)
def test_a_database_that_cannot_be_opened_is_reported_without_the_password(wrong: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        SqlDatabase(wrong)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_a_database_is_reported(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "discovery.sqlite").write_text("something else\n" * 100)
    with pytest.raises(StorageDamaged, match="not a SQLite database"):
        SqlDatabase(sqlite_url)


def test_the_driver_of_postgresql_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'ec262\[postgres\]'"):
        SqlDatabase("postgresql://me:hunter2@127.0.0.1/db")


# --- units of work --------------------------------------------------------------------------------------------------


def test_changes_by_others_after_a_commit_are_seen(database: SqlDatabase, url: str) -> None:
    other = SqlDatabase(url)
    with database.unit_of_work() as uow:
        (before,) = uow.tasks.locked(["task1"])
        uow.tasks.save([fetch(before, worker="work1")])
        uow.commit()
        with other.unit_of_work() as meanwhile:
            meanwhile.tasks.save([fetch(each, worker="work2") for each in meanwhile.tasks.locked(["task1"])])
            meanwhile.commit()
        uow.tasks.save([before])
        uow.commit()
        assert uow.tasks.find(["task1"]) == [before]
    other.close()


def test_offers_that_all_differ_are_read_once_and_not_in_every_purchase(database: SqlDatabase) -> None:
    names = [f"w{number:04}" for number in range(1400)]
    with database.unit_of_work() as uow:
        for name in names:
            uow.accounts.add(account(name), token(name))
            uow.pool.put(attrs.evolve(member(name), packages=frozenset({f"only-{name}"})))
        uow.commit()
        offers = [{each.worker: each.packages for each in uow.pool.alive(0)} for _ in range(2)]
    assert offers[0]["w0007"] == {"only-w0007"}
    assert all(offers[1][name] is offers[0][name] for name in names)


# --- upkeep ---------------------------------------------------------------------------------------------------------


def test_a_backlog_is_forgotten_in_portions(database: SqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_tables, "FORGET_LIMIT", 2)
    old = [task(f"old{number}", deadline=1) for number in range(3)]
    with database.unit_of_work() as uow:
        uow.tasks.add([expire(each, now=2)[0] for each in old])
        for left in (1, 0):
            uow.tasks.forget(1000)
            assert len(uow.tasks.find([each.id for each in old])) == left
        assert uow.tasks.find(["task1"]) == [task()]


@pytest.mark.parametrize(("mode", "told"), [(0o600, 0), (0o640, 1), (0o604, 1)])
def test_a_file_that_others_can_read_is_reported(
    sqlite_url: str, caplog: pytest.LogCaptureFixture, mode: int, told: int
) -> None:
    SqlDatabase(sqlite_url).close()
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    file.chmod(mode)
    SqlDatabase(sqlite_url).close()
    assert [f"{file} holds keys and secrets" in record.getMessage() for record in caplog.records] == [True] * told
