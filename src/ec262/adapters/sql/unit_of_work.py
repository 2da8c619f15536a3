"""Units of work over a database. SQLite, in its write-ahead-log mode, survives kill -9 and power cuts."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from ec262.adapters.sql.repositories import SqlAccounts, SqlLedger, SqlPool, SqlPurchases
from ec262.adapters.sql.schema import metadata
from ec262.adapters.sql.statements import Statements, translated
from ec262.adapters.sql.tasks import SqlTasks
from ec262.domain.errors import ConfigurationError

BUSY_TIMEOUT_S = 10
"""How long to wait for another process that holds the file."""


class SqlUnitOfWork:
    """One transaction, which excludes all others from its first moment on."""

    accounts: SqlAccounts
    ledger: SqlLedger
    pool: SqlPool
    tasks: SqlTasks
    purchases: SqlPurchases
    _connection: Connection

    def __init__(self, engine: Engine, turn: threading.Lock) -> None:
        self._engine = engine
        self._turn = turn

    def __enter__(self) -> Self:
        self._turn.acquire()
        try:
            with translated():
                self._connection = self._engine.connect()
        except BaseException:
            self._turn.release()
            raise
        statements = Statements(self._connection)
        self.accounts = SqlAccounts(statements)
        self.ledger = SqlLedger(statements)
        self.pool = SqlPool(statements)
        self.tasks = SqlTasks(statements)
        self.purchases = SqlPurchases(statements)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with translated():
                self._connection.close()
        finally:
            self._turn.release()

    def commit(self) -> None:
        """Make what was done durable; the next statement begins another transaction."""
        with translated():
            self._connection.commit()


class SqlDatabase:
    """A database and its tables, made where they are missing. Its ``unit_of_work`` is a UnitOfWorkFactory."""

    def __init__(self, url: str) -> None:
        """Open by SQLAlchemy URL, such as ``sqlite:////var/lib/ec262/discovery.sqlite``. Raises ConfigurationError."""
        try:
            parsed = make_url(url)
            _check(parsed)
            _create_private(Path(str(parsed.database)))
            self._engine = _open(parsed)
        except (ArgumentError, OSError, SQLAlchemyError) as error:
            cause = getattr(error, "orig", None) or error
            raise ConfigurationError(f"cannot open the database {url}: {cause}") from error
        # Threads of this process queue here, in order; SQLite's own waiting, which polls, is for other processes.
        self._turn = threading.Lock()

    def unit_of_work(self) -> SqlUnitOfWork:
        """Make a unit of work, to be entered once."""
        return SqlUnitOfWork(self._engine, self._turn)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()


def _check(url: URL) -> None:
    if url.get_backend_name() != "sqlite":
        raise ConfigurationError(f"the database {url.get_backend_name()} is not supported: use sqlite:///PATH")
    if url.database in {None, "", ":memory:"}:
        raise ConfigurationError("the database must be a file: sqlite:///PATH")


def _create_private(path: Path) -> None:
    """Make the file, readable by its owner alone, before SQLite does; SQLite gives its companions the same mode."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _open(url: URL) -> Engine:
    # Parameters are hidden in errors, which end in logs: some are secrets.
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S}, hide_parameters=True)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    try:
        metadata.create_all(engine)
    except SQLAlchemyError:
        engine.dispose()
        raise
    return engine


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself: _begin does
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
