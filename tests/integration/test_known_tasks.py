"""What SQLite's transactions hand on to each other is as it is stored, whoever else writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ec262.adapters.sql.engine import known_tasks
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.discovery.tasks import expire, fetch
from tests.stored import after, task, with_accounts


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[tuple[SqlDatabase, SqlDatabase]]:
    """The same file, opened by two."""
    url = f"sqlite:///{tmp_path / 'discovery.sqlite'}"
    ours, theirs = SqlDatabase(url), SqlDatabase(url)
    with ours.unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([task("task1"), task("task2"), task("task3")])
        uow.commit()
    yield ours, theirs
    ours.close()
    theirs.close()


def questions(database: SqlDatabase) -> list[str]:
    """Return the list into which all that a database is asked about replicas will be put."""
    asked: list[str] = []

    def note(statement: str) -> None:
        if "FROM replicas" in statement:
            asked.append(statement)

    with database.engine.connect() as connection:  # the one that is used next
        driver: Any = connection.connection.dbapi_connection
        driver.set_trace_callback(note)
    return asked


def decide(database: SqlDatabase, name: str) -> None:
    """Let a task be won."""
    with database.unit_of_work() as uow:
        (open_task,) = uow.tasks.locked([name])
        uow.tasks.save([after(open_task, "work1", "work2")])
        uow.commit()


def test_a_task_is_read_once(databases: tuple[SqlDatabase, SqlDatabase]) -> None:
    _, reading = databases
    asked = questions(reading)
    for _ in range(3):
        with reading.unit_of_work() as uow:
            assert uow.tasks.locked(["task1"]) == [task("task1")]
            assert uow.tasks.find(["task2", "task1", "task2"]) == [task("task1"), task("task2")]
    assert len(asked) == 2


def test_writes_of_another_process_are_read_again(databases: tuple[SqlDatabase, SqlDatabase]) -> None:
    ours, theirs = databases
    decide(theirs, "task1")
    with ours.unit_of_work() as uow:
        assert uow.tasks.locked(["task1"]) == [after(task("task1"), "work1", "work2")]
        uow.commit()
        decide(theirs, "task2")
        assert uow.tasks.find(["task2"]) == [after(task("task2"), "work1", "work2")]


def test_writes_of_another_connection_are_read_again(
    databases: tuple[SqlDatabase, SqlDatabase],
) -> None:
    ours, _ = databases
    with ours.snapshot() as snapshot:
        assert snapshot.tasks.find(["task1"]) == [task("task1")]
        decide(ours, "task1")
        assert snapshot.tasks.find(["task1"]) == [task("task1")]
    with ours.unit_of_work() as uow:
        assert uow.tasks.find(["task1"]) == [after(task("task1"), "work1", "work2")]


def test_rolled_back_reputations_are_unknown(databases: tuple[SqlDatabase, SqlDatabase]) -> None:
    ours, _ = databases
    with ours.unit_of_work() as uow:
        fetched = fetch(*uow.tasks.locked(["task1"]), worker="work1")
        uow.tasks.save([fetched])
        uow.tasks.add([task("task4")])
        assert uow.tasks.find(["task1", "task4"]) == [fetched, task("task4")]
    with ours.unit_of_work() as uow:
        assert uow.tasks.find(["task1", "task4"]) == [task("task1")]


def test_forgotten_tasks_are_dropped_from_the_cache(databases: tuple[SqlDatabase, SqlDatabase]) -> None:
    ours, _ = databases
    end = task().forgotten_at
    with ours.unit_of_work() as uow:
        uow.tasks.save([expire(each, now=end)[0] for each in uow.tasks.locked(["task1"])])
        uow.commit()
    with ours.unit_of_work() as uow:
        uow.tasks.forget(end)
        uow.commit()
    with ours.unit_of_work() as uow:
        assert uow.tasks.find(["task1", "task2"]) == [task("task2")]


def test_a_limited_number_is_kept(databases: tuple[SqlDatabase, SqlDatabase], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_tasks, "MOST", 2)
    _, reading = databases
    names = ["task1", "task2", "task3"]
    with reading.unit_of_work() as uow:
        assert len(uow.tasks.locked(names)) == len(names)
    asked = questions(reading)
    with reading.unit_of_work() as uow:
        uow.tasks.locked(names[1:])
        assert asked == []
        uow.tasks.locked(names[:1])
        assert len(asked) == 1
