"""Units of work over a database: SQLite, where they exclude each other from their first moment on, or PostgreSQL, where
they run side by side, in any number of processes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from ec262.adapters.sql.engine.damage import examine_sqlite, failure, with_advice
from ec262.adapters.sql.engine.dialects import POSTGRESQL
from ec262.adapters.sql.engine.engines import for_snapshots, open_engine, reads_only, speakable
from ec262.adapters.sql.engine.known_tasks import known_tasks
from ec262.adapters.sql.engine.statements import Statements, translated
from ec262.adapters.sql.ledger_tables import SqlLedger
from ec262.adapters.sql.repositories import SqlAccounts, SqlAnchors, SqlInvitations, SqlPool, SqlPurchases, SqlReports
from ec262.adapters.sql.reputation_tables import SqlReputations
from ec262.adapters.sql.schema.revisions import bring_up_to_date
from ec262.adapters.sql.task_tables import SqlTasks
from ec262.domain.errors import ConfigurationError, StorageDamaged

_log = logging.getLogger(__name__)

Turn = AbstractContextManager[object]
OnDamage = Callable[[StorageDamaged], None]


class SqlUnitOfWork:
    """One transaction. Tasks and transfers are written when it is committed, or when they are asked for."""

    accounts: SqlAccounts
    invitations: SqlInvitations
    reports: SqlReports
    reputations: SqlReputations
    anchors: SqlAnchors
    ledger: SqlLedger
    pool: SqlPool
    tasks: SqlTasks
    purchases: SqlPurchases
    _connection: Connection
    _end: ExitStack

    def __init__(self, engine: Engine, turn: Turn, on_damage: OnDamage) -> None:
        self._engine = engine
        self._turn = turn
        self._on_damage = on_damage

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.enter_context(self._turn)
            try:
                with translated():
                    self._connection = undo.enter_context(self._engine.connect())
                    self._connection.begin()
            except StorageDamaged as error:
                self._on_damage(error)
                raise
            self._end = undo.pop_all()
        statements = Statements(self._connection)
        self.accounts = SqlAccounts(statements)
        self.invitations = SqlInvitations(statements)
        self.reports = SqlReports(statements)
        self.reputations = SqlReputations(statements)
        self.anchors = SqlAnchors(statements)
        self.ledger = SqlLedger(statements)
        self.pool = SqlPool(statements)
        self.tasks = SqlTasks(statements, known_tasks(self._connection, exclusive=not reads_only(self._connection)))
        self.purchases = SqlPurchases(statements)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tasks.end()
        if isinstance(error, StorageDamaged):
            self._on_damage(error)
        with translated():
            self._end.close()

    def commit(self) -> None:
        """Make what was done durable; the next statement begins another transaction."""
        self.tasks.flush()
        self.ledger.flush()
        with translated():
            self._connection.commit()
        self.tasks.release()


class SqlDatabase:
    """A database with its tables as this release has them. Its ``unit_of_work`` is a UnitOfWorkFactory; ``engine`` is
    for other storages in the same database."""

    def __init__(self, url: str, *, lasting: bool = True, create: bool = True) -> None:
        """Open by SQLAlchemy URL, such as ``sqlite:////var/lib/ec262/discovery.sqlite`` or
        ``postgresql://ec262@db.example.org/ec262``; make the tables in an empty database, unless told not to
        ``create`` any, upgrade those of an earlier release. One that is not ``lasting`` does not wait for the disk, and
        may be broken after a power failure. Raises ConfigurationError, StorageDamaged."""
        self.engine = open_engine(url, lasting=lasting)
        self._damage: StorageDamaged | None = None
        try:
            bring_up_to_date(self.engine, create=create)
        except SQLAlchemyError as error:
            self.engine.dispose()
            cause = getattr(error, "orig", None) or error
            damage = failure(cause)
            if isinstance(damage, StorageDamaged):
                raise damage from error
            raise ConfigurationError(f"cannot open the database {speakable(self.engine.url)}: {cause}") from error
        except BaseException:
            self.engine.dispose()
            raise
        # SQLite has one transaction at a time, and lets others ask again and again whether it is over. So threads of
        # this process queue here, in order; its own way is for other processes.
        self._turn: Turn = nullcontext() if self.engine.dialect.name == POSTGRESQL else threading.Lock()

    def unit_of_work(self) -> SqlUnitOfWork:
        """Make a unit of work, to be entered once."""
        return SqlUnitOfWork(self.engine, self._turn, self._note_damage)

    def snapshot(self) -> SqlUnitOfWork:
        """Make a unit of work for reading alone: all of it is as it was at one moment, and nobody waits for it."""
        return SqlUnitOfWork(for_snapshots(self.engine), nullcontext(), self._note_damage)

    def check(self) -> None:
        """Raise StorageDamaged if anybody has met damage, or ``examine`` has found some."""
        if self._damage is not None:
            raise StorageDamaged(str(self._damage)) from self._damage

    def examine(self) -> None:
        """Look for unnoticed damage in a whole SQLite file; a PostgreSQL server does so by itself, if configured to.

        Raises StorageDamaged, DiscoveryUnavailable."""
        if self.engine.dialect.name == POSTGRESQL:
            return
        try:
            examine_sqlite(Path(str(self.engine.url.database)))
        except StorageDamaged as error:
            self._note_damage(error)
            raise
        self._damage = None

    def _note_damage(self, error: StorageDamaged) -> None:
        if self._damage is None:
            _log.error("%s", with_advice(error, speakable(self.engine.url)), exc_info=error)
        self._damage = error

    def close(self) -> None:
        """Close the connections that are not in use."""
        self.engine.dispose()
