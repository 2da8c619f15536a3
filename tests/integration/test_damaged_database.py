"""What discovery and its operator's command say of a database that is damaged: a service that runs, one that starts."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests

from ec262.adapters.sql.engine.damage import failure
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.discovery.ledger import MINT, operator_grant
from ec262.domain.errors import DiscoveryUnavailable, StorageDamaged
from ec262.entrypoints.discovery_admin import __main__ as discovery_admin
from tests.discovery_process import database_of, running_discovery
from tests.discovery_town import digest
from tests.full_disk import files_up_to
from tests.stored import account

PAGE = 4096
NOTICED_S = 60.0
CORRUPT = "the database is corrupt"


def overwrite_pages(file: Path) -> None:
    """All but the first two: the database can still be opened."""
    with file.open("r+b") as opened:
        for page in range(2, file.stat().st_size // PAGE):
            opened.seek(page * PAGE)
            opened.write(os.urandom(PAGE))


def overwrite_one_page(file: Path) -> None:
    """One that hardly anybody reads."""
    with file.open("r+b") as opened:
        opened.seek((page_of(file, "invitations") - 1) * PAGE)
        opened.write(os.urandom(PAGE))


def page_of(file: Path, table: str) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()[0])


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def replace_by_text(file: Path) -> None:
    file.write_bytes(b"Dear diary, today I was a database. " * 1000)


DAMAGES: list[Callable[[Path], None]] = [overwrite_pages, overwrite_one_page, truncate, replace_by_text]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with some accounts in it, that nobody has open."""
    database = SqlDatabase(database_of(tmp_path))
    with database.unit_of_work() as uow:
        for number in range(200):
            uow.accounts.add(account(f"account-{number}"), digest(f"token {number}"))
        uow.ledger.post([operator_grant(f"account-{number}", 1, id=f"{number}", at=0) for number in range(200)])
        uow.commit()
    database.close()
    return tmp_path / "discovery.sqlite"


def told(capsys: pytest.CaptureFixture[str], command: str, *arguments: str, file: Path) -> str:
    assert discovery_admin.main([command, *arguments, "--database", f"sqlite:///{file}"]) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_service_that_runs_is_not_healthy(
    file: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with running_discovery(file.parent) as discovery:
        assert requests.get(f"{discovery.url}/health", timeout=10).status_code == 200
        damage(file)
        until = time.monotonic() + NOTICED_S
        while (answer := requests.get(f"{discovery.url}/health", timeout=10)).status_code == 200:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert answer.status_code == 503
        assert "corrupt" in answer.json()["message"]
        assert str(file) not in answer.text
        assert discovery.log().count("A damaged database") == 1
        text = told(capsys, "audit", file=file)
    assert "corrupt" in text
    assert f"(sqlite:///{file}): stop discovery and restore a backup" in text


@pytest.mark.parametrize("damage", [overwrite_pages, truncate, replace_by_text])
@pytest.mark.parametrize("command", ["accounts", "audit", "backup"])
def test_an_operator_learns_what_is_wrong_and_what_to_do(
    file: Path, damage: Callable[[Path], None], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(file)
    arguments = [str(file.with_name("copy"))] if command == "backup" else []
    text = told(capsys, command, *arguments, file=file)
    assert "corrupt" in text
    assert "restore a backup; without one, 'sqlite3 FILE .recover'" in text
    assert not file.with_name("copy").exists()


def test_a_page_that_hardly_anybody_reads_is_missed_by_no_audit_and_no_backup(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overwrite_one_page(file)
    assert CORRUPT in told(capsys, "audit", file=file)
    assert CORRUPT in told(capsys, "backup", str(file.with_name("copy")), file=file)
    assert not file.with_name("copy").exists()


@pytest.mark.parametrize("damage", [overwrite_pages, truncate, replace_by_text])
def test_a_service_does_not_start_on_it(file: Path, damage: Callable[[Path], None]) -> None:
    damage(file)
    command = [sys.executable, "-m", "ec262.entrypoints.discovery", "--port", "0", "--database", f"sqlite:///{file}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "corrupt" in done.stderr
    assert "restore a backup" in done.stderr
    assert "Traceback" not in done.stderr


def give_one_more_credit(database: SqlDatabase) -> None:
    with database.unit_of_work() as uow:
        uow.ledger.post([operator_grant("account-1", 1, id="one more", at=0)])
        uow.commit()


def test_a_failing_disk_is_reported_until_it_works_again(file: Path) -> None:
    database = SqlDatabase(f"sqlite:///{file}")
    database.check()
    with files_up_to(PAGE), pytest.raises(StorageDamaged, match="the disk that holds the database fails"):
        give_one_more_credit(database)
    with pytest.raises(StorageDamaged, match="the disk that holds the database fails"):
        database.check()
    database.examine()
    database.check()
    with database.unit_of_work() as uow:
        assert uow.ledger.balance(MINT) == -200
    database.close()


def test_a_missing_file_is_reported(file: Path) -> None:
    database = SqlDatabase(f"sqlite:///{file}")
    file.unlink()
    with pytest.raises(DiscoveryUnavailable, match="the database file cannot be opened"):
        database.examine()
    database.close()


class PostgresError(Exception):
    """As the driver raises them."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("secret parameters")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "kind", "text"),
    [
        ("XX001", StorageDamaged, CORRUPT),
        ("XX002", StorageDamaged, "an index of the database is corrupt"),
        ("58030", StorageDamaged, "the disk that holds the database fails"),
        ("53100", DiscoveryUnavailable, "the disk that holds the database is full"),
        ("57P01", DiscoveryUnavailable, "the database does not answer"),
    ],
)
def test_postgresqls_report_of_damage_is_shown(state: str, kind: type[Exception], text: str) -> None:
    error = failure(PostgresError(state))
    assert type(error) is kind
    assert str(error) == text
