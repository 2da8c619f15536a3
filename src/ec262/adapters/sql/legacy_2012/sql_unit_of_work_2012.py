"""The storage of the 2012 API in a database: the same one as ``/v1``'s, in tables of its own."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine

from ec262.adapters.sql.engine.dialects import advisory_lock
from ec262.adapters.sql.engine.statements import Statements, translated
from ec262.adapters.sql.legacy_2012.repositories_2012 import SqlClients2012, SqlLedger2012, SqlTasks2012

ADVISORY_LOCK = 262_2012
"""On PostgreSQL, whoever holds the lock of this number is the one unit of work of the 2012 API."""


class SqlUnitOfWork2012:
    """One transaction, which excludes all others from its first moment on."""

    clients: SqlClients2012
    tasks: SqlTasks2012
    ledger: SqlLedger2012
    _connection: Connection

    def __init__(self, engine: Engine, turn: threading.Lock) -> None:
        self._engine = engine
        self._turn = turn

    def __enter__(self) -> Self:
        self._turn.acquire()
        try:
            self._begin()
        except BaseException:
            self._turn.release()
            raise
        statements = Statements(self._connection)
        self.clients = SqlClients2012(statements)
        self.tasks = SqlTasks2012(statements)
        self.ledger = SqlLedger2012(statements)
        return self

    def _begin(self) -> None:
        """SQLite transactions exclude each other by themselves (BEGIN IMMEDIATE); PostgreSQL's by a lock, which its end
        gives back."""
        with translated():
            self._connection = self._engine.connect()
            try:
                advisory_lock(self._connection, ADVISORY_LOCK)
            except BaseException:
                self._connection.close()
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with translated():
                self._connection.close()
        finally:
            self._turn.release()

    def commit(self) -> None:
        """Make what was done durable."""
        with translated():
            self._connection.commit()


class Sql2012:
    """The 2012 API's part of a database whose tables are there. Its ``unit_of_work`` is a UnitOfWork2012Factory."""

    def __init__(self, engine: Engine) -> None:
        """Use an engine whose transactions begin with BEGIN IMMEDIATE on SQLite, and on PostgreSQL are READ COMMITTED:
        each statement sees what was committed while the first one waited for the lock. The caller disposes of it."""
        self._engine = engine
        # Threads of this process queue here, in order and without a connection each.
        self._turn = threading.Lock()

    def unit_of_work(self) -> SqlUnitOfWork2012:
        """Make a unit of work, to be entered once."""
        return SqlUnitOfWork2012(self._engine, self._turn)
