"""Damaged databases: how drivers say that one is, and looking for damage that has not been noticed yet."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ec262.adapters.sql.engine.engines import WAIT_S
from ec262.domain.errors import DiscoveryUnavailable, StorageDamaged

_DAMAGE = {
    sqlite3.SQLITE_CORRUPT: "the database is corrupt",
    sqlite3.SQLITE_NOTADB: "the database file is corrupt, or not a SQLite database",
    sqlite3.SQLITE_IOERR: "the disk that holds the database fails",
    "XX001": "the database is corrupt",
    "XX002": "an index of the database is corrupt",
    "58030": "the disk that holds the database fails",
}
"""By SQLite's primary result codes, and by PostgreSQL's states (its documentation, appendix A)."""

_HINDRANCES = {
    sqlite3.SQLITE_FULL: "the disk that holds the database is full",
    sqlite3.SQLITE_READONLY: "the database cannot be written",
    sqlite3.SQLITE_CANTOPEN: "the database file cannot be opened",
    "53100": "the disk that holds the database is full",
}

_PRIMARY = 0xFF
"""SQLite's extended result codes have their primary one in the lowest byte."""


def failure(error: BaseException | None) -> DiscoveryUnavailable:
    """Return what a driver's error means to those who use the database. Its text stays out: see ``translated``."""
    code = getattr(error, "sqlite_errorcode", None)
    key = getattr(error, "sqlstate", None) if code is None else code & _PRIMARY
    if key in _DAMAGE:
        return StorageDamaged(_DAMAGE[key])
    return DiscoveryUnavailable(_HINDRANCES.get(key, "the database does not answer"))


def is_corrupt(error: BaseException) -> bool:
    """Tell whether SQLite says that a database itself is damaged, whatever its disk does."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & _PRIMARY in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def examine_sqlite(file: Path) -> None:
    """Read all of a database, as far as it takes to find pages that are damaged or missing. It takes a second for some
    hundred megabytes, and nobody waits for it. Raises StorageDamaged, DiscoveryUnavailable."""
    try:
        # A new connection: the others have pages in memory, and would not see what has become of them on the disk.
        read_only = f"file:{quote(str(file.absolute()))}?mode=ro"
        with closing(sqlite3.connect(read_only, uri=True, timeout=WAIT_S)) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise failure(error) from error
    if verdict != "ok":
        raise StorageDamaged(_DAMAGE[sqlite3.SQLITE_CORRUPT]) from sqlite3.DatabaseError(verdict)


def with_advice(error: StorageDamaged, database: str) -> str:
    """Tell an operator of damage to the database of this URL, and what to do about it."""
    return (
        f"{error} ({database}): stop discovery and restore a backup; without one, 'sqlite3 FILE .recover' saves what "
        "can be read; see 'A damaged database' in docs/operations.md"
    )
