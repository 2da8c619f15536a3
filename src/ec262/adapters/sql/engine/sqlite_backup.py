"""Copies of a discovery service's SQLite file, made while the service runs."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ec262.adapters.sql.engine.damage import failure, is_corrupt
from ec262.adapters.sql.engine.engines import USAGE
from ec262.domain.errors import ConfigurationError, StorageDamaged

BUSY_TIMEOUT_S = 30

_PARTIAL = ".ec262-backup-"
"""How the names of copies begin that are not whole yet."""


def sqlite_file(url: str) -> Path | None:
    """Return the file that a database URL names; None if the database is no SQLite one. Raises ConfigurationError."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(f"the database's URL cannot be read: {USAGE}") from None  # the cause quotes it
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database:
        raise ConfigurationError("the database must be a file: sqlite:///PATH")
    return Path(parsed.database)


def without_password(url: str) -> str:
    """Return a database URL as other programs take it, and as it may be shown."""
    full = make_url(url)
    shown = URL.create(
        full.get_backend_name(),
        full.username,
        host=full.host,
        port=full.port,
        database=full.database,
        query={name: value for name, value in full.query.items() if "password" not in name},
    )
    return shown.render_as_string()


def back_up(source: Path, target: Path) -> int:
    """Copy a database as it is at one moment, check the copy, and let it appear under its name when it is whole.

    Returns its size in bytes. The copy is its owner's alone (0600). Raises ConfigurationError, also if the target is
    there already, and StorageDamaged if the database is damaged.
    """
    try:
        if target.exists():
            raise ConfigurationError(f"{target} already exists: backups do not overwrite files")
        _remove_abandoned(target.parent)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=_PARTIAL)  # its mode is 0600
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # SQLite uses locks of another kind
            _copy(source, name)
            os.fsync(descriptor)
            os.link(name, target)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
            Path(name).unlink()
    except (OSError, sqlite3.Error) as error:
        if is_corrupt(error):
            raise failure(error) from error
        raise ConfigurationError(f"cannot copy {source} to {target}: {error}") from error


def _remove_abandoned(folder: Path) -> None:
    """Remove partial copies whose writers were killed: nobody holds the lock on them any more."""
    for path in folder.glob(f"{_PARTIAL}????????"):  # not their journals
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
            path.unlink()


def _copy(source: Path, name: str) -> None:
    read_only = f"file:{quote(str(source.absolute()))}?mode=ro"
    with (
        closing(sqlite3.connect(read_only, uri=True, timeout=BUSY_TIMEOUT_S)) as original,
        closing(sqlite3.connect(name)) as copy,
    ):
        original.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, not three
        (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            raise StorageDamaged("the database is corrupt") from sqlite3.DatabaseError(verdict)
