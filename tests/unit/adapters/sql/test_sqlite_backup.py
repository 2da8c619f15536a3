"""Copies of a SQLite file that is in use."""

from __future__ import annotations

import fcntl
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ec262.adapters.sql.engine.sqlite_backup import back_up, sqlite_file, without_password
from ec262.domain.errors import ConfigurationError, StorageDamaged


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database in use: what was written last is in its log only, and another transaction is under way."""
    with closing(sqlite3.connect(tmp_path / "it's %41?.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE numbers (number INTEGER)")
        connection.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(1000)])
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO numbers VALUES (-1)")
        yield connection


def numbers(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number")]


def test_a_copy_has_what_was_committed(tmp_path: Path, database: sqlite3.Connection) -> None:
    target = tmp_path / "backups" / "copy"
    target.parent.mkdir()
    size = back_up(tmp_path / "it's %41?.sqlite", target)
    assert size == target.stat().st_size > 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(target.parent.iterdir()) == [target]
    assert numbers(target) == list(range(1000))


def test_a_database_at_rest_is_copied(tmp_path: Path, database: sqlite3.Connection) -> None:
    database.execute("COMMIT")
    database.close()
    back_up(tmp_path / "it's %41?.sqlite", tmp_path / "copy")
    assert len(numbers(tmp_path / "copy")) == 1001


def test_nothing_is_overwritten(tmp_path: Path, database: sqlite3.Connection) -> None:
    target = tmp_path / "copy"
    target.write_text("precious")
    with pytest.raises(ConfigurationError, match="already exists"):
        back_up(tmp_path / "it's %41?.sqlite", target)
    assert target.read_text() == "precious"


KILLED = """
import os, signal, sys
from pathlib import Path
from ec262.adapters.sql.engine import sqlite_backup

copy = sqlite_backup._copy

def killed(source, name):
    copy(source, name)
    Path(f"{name}-journal").touch()
    os.kill(os.getpid(), signal.SIGKILL)

sqlite_backup._copy = killed
sqlite_backup.back_up(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_leftovers_of_a_killed_backup_are_removed_by_the_next(tmp_path: Path, database: sqlite3.Connection) -> None:
    source, folder = tmp_path / "it's %41?.sqlite", tmp_path / "backups"
    folder.mkdir()
    assert subprocess.run([sys.executable, "-c", KILLED, source, folder / "a"], check=False).returncode == -9
    assert len(list(folder.iterdir())) == 2
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".ec262-backup-") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        back_up(source, folder / "b")
        assert set(folder.iterdir()) == {folder / "b", Path(living.name)}


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [(None, ConfigurationError, "cannot copy"), (b"dear diary, " * 100, StorageDamaged, "not a SQLite database")],
)
def test_a_source_that_is_not_a_database_is_reported(
    tmp_path: Path, content: bytes | None, error: type[Exception], text: str
) -> None:
    source = tmp_path / "source"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(error, match=text):
        back_up(source, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == (["source"] if content else [])


def test_a_missing_folder_is_reported(tmp_path: Path, database: sqlite3.Connection) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        back_up(tmp_path / "it's %41?.sqlite", tmp_path / "no" / "copy")


def test_which_file_a_url_names() -> None:
    assert sqlite_file("sqlite:////var/lib/x.sqlite") == Path("/var/lib/x.sqlite")
    assert sqlite_file("postgresql://host/x") is None
    for url, complaint in (("sqlite://", "must be a file"), ("nonsense", "URL cannot be read")):
        with pytest.raises(ConfigurationError, match=complaint):
            sqlite_file(url)


def test_passwords_are_not_shown() -> None:
    url = "postgresql+psycopg://ec262:secret@db.example:5433/books"
    assert without_password(url) == "postgresql://ec262@db.example:5433/books"
    socket = "postgresql://ec262@/books?host=%2Frun%2Fpostgresql"
    assert without_password(f"{socket}&password=secret&sslpassword=secret") == socket
