"""Databases of earlier releases, of later ones, and several processes that open one at the same moment."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from ec262.adapters.sql import migrations
from ec262.adapters.sql.engine.engines import open_engine
from ec262.adapters.sql.schema import schema_2012
from ec262.adapters.sql.schema.revisions import PRESENT, REVISIONS
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.discovery.unit_of_work import Holdings
from ec262.domain.errors import ConfigurationError
from ec262.domain.verification.task_state import TaskState
from tests.discovery_town import FOREMAN, Town, build_town, digest, order, worker_token
from tests.postgres import PostgresServer

FIRST_RELEASE = Path(__file__).parents[1] / "golden" / "discovery-0001.sql"
"""A database as the first release left it: a task in each state, at second 1,000,000,011; worker 3's lease is over."""


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    file = tmp_path / "discovery.sqlite"
    with sqlite3.connect(file) as connection:
        connection.executescript(FIRST_RELEASE.read_text())
    connection.close()
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.fresh_url(tables=False)
    yield url
    server.drop(url)


def dump(file: Path) -> list[str]:
    with sqlite3.connect(file) as connection:
        lines = list(connection.iterdump())
    connection.close()
    return lines


def town_in(database: SqlDatabase, *, now: float = 1_000_000_011) -> Town:
    """The service goes on where it stopped; ``grant`` is nobody's, as the foreman has an account."""
    town = build_town(unit_of_work=database.unit_of_work, grant=0)
    town.clock.advance(now - town.clock())
    return town


# --- what the first release left ------------------------------------------------------------------------------------


def test_the_first_release_goes_on_with_its_books_and_tasks(old_file: Path) -> None:
    database = SqlDatabase(f"sqlite:///{old_file}")
    town = town_in(database)
    assert town.service.audit() == 30
    assert town.credits() == 21
    foreman = town.service.accounts.status(FOREMAN)
    workers = {town.service.accounts.open(worker_token(number)).account: number for number in range(5)}
    with database.unit_of_work() as uow:
        tasks = {task.state: task for (name,) in _tasks(old_file) for task in uow.tasks.find([name])}
        assert uow.tasks.holdings(foreman.account) == Holdings(tasks=2, credits=4)
        assert {member.worker: member.block for member in uow.pool.alive(0)} == {
            account: block
            for account, number in workers.items()
            for known, block in enumerate(["10.1.2.0/24", "2001:db8:1::/48", "host.example", None, "10.9.9.0/24"])
            if known == number and block
        }
        statement = uow.ledger.statement(f"user:{foreman.account}", before=None, limit=99)
        assert [posting.balance for posting in statement] == [21, 24, 27, 24, 27, 30]
        assert {each.owner for each in (uow.accounts.get(account) for account in workers) if each} == set(workers)
    assert set(tasks) == {TaskState.SETTLED, TaskState.REFUNDED, TaskState.WON, TaskState.OPEN}
    assert tasks[TaskState.REFUNDED].key is None
    going_on = tasks[TaskState.OPEN]
    assert going_on.runtime.machine == "x86_64"
    assert {replica.drawn_at for replica in going_on.replicas} == {1_000_000_011}
    assert {replica.purchase for replica in going_on.replicas} == {"purchase-open"}
    (again,) = town.buy(order("purchase-open")).tasks
    assert again.task == going_on.id
    (late,) = [replica.worker for replica in going_on.replicas if replica.outstanding]
    town.assignment(worker_token(workers[late]), going_on.id)
    town.commit_as(worker_token(workers[late]), going_on.id, digest("first"))
    assert town.verdict(again).state is TaskState.WON
    town.clock.advance(24 * 3600)
    town.service.sweep()
    assert town.service.audit() == 30
    with database.unit_of_work() as uow:
        assert not any(account.startswith("escrow:") for account in uow.ledger.balances())
    database.close()


def _tasks(file: Path) -> list[tuple[str]]:
    with sqlite3.connect(file) as connection:
        rows = connection.execute("SELECT id FROM tasks").fetchall()
    connection.close()
    return rows


def test_an_upgrade_that_fails_changes_nothing(old_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(old_file)

    def upgrade_and_fail(connection: Connection, found: str) -> None:
        migrations_upgrade(connection, found)
        raise ZeroDivisionError

    migrations_upgrade = migrations.upgrade
    monkeypatch.setattr(migrations, "upgrade", upgrade_and_fail)
    with pytest.raises(ZeroDivisionError):
        SqlDatabase(f"sqlite:///{old_file}")
    assert dump(old_file) == before
    monkeypatch.undo()
    SqlDatabase(f"sqlite:///{old_file}").close()
    assert dump(old_file) != before


@pytest.mark.parametrize("kind", ["sqlite, first release", "sqlite, empty", "postgresql, empty"])
def test_those_who_open_it_at_once_change_it_once(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    url = f"sqlite:///{tmp_path / 'discovery.sqlite'}"
    if kind == "sqlite, first release":
        request.getfixturevalue("old_file")
    elif kind == "postgresql, empty":
        url = request.getfixturevalue("postgres_server").fresh_url(tables=False)
    failures: list[Exception] = []
    together = threading.Barrier(4)

    def open_and_close() -> None:
        together.wait()
        try:
            SqlDatabase(url).close()
        except ConfigurationError as error:
            failures.append(error)

    threads = [threading.Thread(target=open_and_close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    engine = open_engine(url)
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT version_num FROM alembic_version")).all() == [PRESENT]
    engine.dispose()


# --- revisions ------------------------------------------------------------------------------------------------------


def test_the_revisions_that_are_named_are_those_that_are_there() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == REVISIONS


def test_migrations_lead_to_the_tables_that_are_made_at_once(empty_url: str) -> None:
    migrated = open_engine(empty_url)
    with migrated.connect() as connection, connection.begin():
        migrations.upgrade(connection, "base")
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, schema_2012.clients.metadata) == []
        by_migrations = constraints_and_indexes(connection)
        schema_2012.clients.metadata.drop_all(connection)
        schema_2012.clients.metadata.create_all(connection)
        assert by_migrations == constraints_and_indexes(connection)
    migrated.dispose()


def constraints_and_indexes(connection: Connection) -> dict[str, object]:
    """What Alembic does not compare."""
    inspector = inspect(connection)
    found: dict[str, object] = {
        name: (
            {check["name"]: check["sqltext"] for check in inspector.get_check_constraints(name)},
            {column["name"]: str(column["type"]) for column in inspector.get_columns(name)},
            {
                index["name"]: {key: str(value) for key, value in index.get("dialect_options", {}).items()}
                for index in inspector.get_indexes(name)
            },
        )
        for name in inspector.get_table_names()
    }
    if connection.dialect.name == "sqlite":
        clustered = text("SELECT name FROM sqlite_master WHERE sql LIKE '%WITHOUT ROWID%' ORDER BY name")
        found["clustered"] = connection.scalars(clustered).all()
        assert len(connection.scalars(clustered).all()) > 3
    return found


def test_a_fresh_database_spares_alembic(empty_url: str) -> None:
    program = """if True:
        import sys
        from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
        for _ in range(2):
            SqlDatabase(sys.argv[1]).close()
        print([name for name in sys.modules if name.partition(".")[0] in {"alembic", "mako"}])
    """
    done = subprocess.run([sys.executable, "-c", program, empty_url], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_present_database_is_known_by_one_question(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    SqlDatabase(empty_url).close()
    monkeypatch.setattr("ec262.adapters.sql.schema.revisions._change", None)
    SqlDatabase(empty_url).close()


def test_tables_of_a_later_release_are_left_alone(empty_url: str) -> None:
    database = SqlDatabase(empty_url)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(ConfigurationError, match="of revision 9999, which this release does not know"):
        SqlDatabase(empty_url)


def test_tables_of_another_program_are_left_alone(empty_url: str) -> None:
    engine = open_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE balances (something INTEGER)"))
    with pytest.raises(ConfigurationError, match="cannot open the database"):
        SqlDatabase(empty_url)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["balances"]
    engine.dispose()
