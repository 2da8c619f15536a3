"""Opening a database by its URL."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ec262.adapters.sql.engine.dialects import POSTGRESQL
from ec262.adapters.sql.engine.known_tasks import forget_if_others_wrote
from ec262.domain.errors import ConfigurationError

WAIT_S = 10
"""How long to wait: for a server, for a connection that is not in use, for what another process has locked."""

LOCKED_PAUSE_S = 0.01
"""How long to wait before trying again what SQLite does not wait for."""

ABANDONED_S = 60
"""A transaction in which nothing happens for so long is ended by PostgreSQL: its process hangs, or its machine is gone,
and others wait for its locks."""

SNAPSHOT = "ec262_snapshot"
"""The execution option of transactions that see everything as it is at one moment, and only read."""

_log = logging.getLogger(__name__)

USAGE = "use sqlite:///PATH or postgresql://USER@HOST/DATABASE"


def open_engine(url: str, *, lasting: bool = True) -> Engine:
    """Make an engine; a SQLite file is made where there is none, and waits for the disk unless it is not ``lasting``.

    Raises ConfigurationError, which never has the URL's password in its text.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"the database's URL cannot be read: {USAGE}") from None  # the cause quotes it
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed, lasting=lasting)
    if parsed.get_backend_name() == POSTGRESQL:
        return _open_postgresql(parsed)
    raise ConfigurationError(f"the database {parsed.get_backend_name()} is not supported: {USAGE}")


def speakable(url: URL) -> str:
    """Return an engine's URL as an error may name it."""
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


def for_snapshots(engine: Engine) -> Engine:
    """Return the engine as transactions that only read are to use it: nobody waits for them."""
    if engine.dialect.name == POSTGRESQL:
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine.execution_options(**{SNAPSHOT: True})


def reads_only(connection: Connection) -> bool:
    """Tell whether a connection's transactions are snapshots."""
    return bool(connection.get_execution_options().get(SNAPSHOT, False))


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def _open_postgresql(url: URL) -> Engine:
    if url.drivername not in {POSTGRESQL, f"{POSTGRESQL}+psycopg"}:
        raise ConfigurationError(f"the database driver {url.get_driver_name()} is not supported: {USAGE}")
    options = f"-c lock_timeout={WAIT_S}s -c idle_in_transaction_session_timeout={ABANDONED_S}s"
    settings = {"connect_timeout": WAIT_S, **url.query, "options": f"{options} {url.query.get('options', '')}".strip()}
    try:
        # Parameters are hidden in errors, which end in logs: some are secrets.
        return create_engine(
            url.set(drivername=f"{POSTGRESQL}+psycopg", query={}),
            connect_args=settings,
            isolation_level="READ COMMITTED",
            paramstyle="format",  # placeholders in order, as SQLite's are
            pool_timeout=WAIT_S,
            hide_parameters=True,
        )
    except ImportError as error:
        raise ConfigurationError("PostgreSQL needs its driver: pip install 'ec262[postgres]'") from error


# --- SQLite ---------------------------------------------------------------------------------------------------------


def _open_sqlite(url: URL, *, lasting: bool) -> Engine:
    if url.database in {None, "", ":memory:"}:
        raise ConfigurationError("the database must be a file: sqlite:///PATH")
    if url.query:
        raise ConfigurationError("a SQLite database's URL takes no parameters: sqlite:///PATH")
    _create_private(Path(str(url.database)), url)
    # The connection that was used last is used next: it knows most.
    engine = create_engine(url, connect_args={"timeout": WAIT_S}, hide_parameters=True, pool_use_lifo=True)
    event.listen(engine, "connect", partial(_configure, synchronous="FULL" if lasting else "OFF"))
    event.listen(engine, "begin", _begin)
    return engine


def _create_private(path: Path, url: URL) -> None:
    """Make the file, readable by its owner alone, before SQLite does; SQLite gives its companions the same mode."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            if os.name == "posix" and os.fstat(descriptor).st_mode & 0o044:
                _log.warning("%s holds keys and secrets, and users other than its owner can read it: chmod 600", path)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigurationError(f"cannot open the database {speakable(url)}: {error}") from error


def _configure(connection: Any, _record: object, *, synchronous: str) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself: _begin does
    cursor = connection.cursor()
    _use_write_ahead_log(cursor)
    for pragma in (f"synchronous={synchronous}", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    """Change the journal mode, for all to come. Where others open a new file at this moment, SQLite does not wait for
    them here, whatever its time-out: two that wait for each other's lock would wait for ever."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(LOCKED_PAUSE_S)
        else:
            return


def _begin(connection: Connection) -> None:
    if reads_only(connection):
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        forget_if_others_wrote(connection)
