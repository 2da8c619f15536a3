"""Running statements on one connection, with the driver's errors translated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from operator import itemgetter
from typing import Any

import attrs
from sqlalchemy import ClauseElement, Connection, Dialect, Executable, Insert, RowMapping, TextClause
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ec262.adapters.sql.engine.damage import failure
from ec262.adapters.sql.engine.dialects import (
    IN_EACH_OTHERS_WAY,
    UNIQUE_VIOLATION,
    Bulk,
    RowChange,
    advisory_lock,
    bulk_change,
    bulk_insert,
    is_postgresql,
    texts,
)
from ec262.domain.errors import DiscoveryUnavailable, LedgerError

Values = Mapping[str, Any]
Row = Sequence[Any]
NOTHING: Values = {}


@contextmanager
def translated() -> Iterator[None]:
    """Raise LedgerError where a constraint holds, StorageDamaged where the database is damaged, DiscoveryUnavailable
    where it does not do its work for another reason, or two transactions stood in each other's way.

    The driver's text stays out of the message: it may quote parameters, and these may be secrets.
    """
    try:
        yield
    except SQLAlchemyError as error:
        orig = getattr(error, "orig", None)
        raise _translation(orig, breaks_rules=isinstance(error, IntegrityError)) from error


def _translation(error: BaseException | None, *, breaks_rules: bool) -> DiscoveryUnavailable | LedgerError:
    state = getattr(error, "sqlstate", None)  # SQLite's driver knows none
    if state == UNIQUE_VIOLATION or state in IN_EACH_OTHERS_WAY:
        return DiscoveryUnavailable("the call conflicted with another one: repeat it")
    if breaks_rules:
        return LedgerError("the database refuses a change that breaks its rules")
    return failure(error)


class Statements:
    """A connection as the repositories use it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, statement: Executable, parameters: Values | None = None) -> Sequence[RowMapping]:
        """Run a query and return its rows."""
        with translated():
            return self._connection.execute(statement, parameters).mappings().all()

    def row(self, statement: Executable, parameters: Values | None = None) -> RowMapping | None:
        """Run a query and return its first row."""
        with translated():
            return self._connection.execute(statement, parameters).mappings().first()

    def run(self, statement: Executable, parameters: Values | Sequence[Values] | None = None) -> None:
        """Run a statement that changes something; a list of parameters runs it once for each."""
        with translated():
            self._connection.execute(statement, parameters)

    # What is below takes the short way, past SQLAlchemy to the driver, which for small statements takes a third of the
    # time: a parameter may be a list of texts (``dialects.one_of``), rows are tuples of what the driver makes of the
    # columns; SQLite's knows no truth values, but 0 and 1.

    def fetch(self, statement: ClauseElement, parameters: Values = NOTHING) -> Sequence[Any]:
        """Run a query and return its rows."""
        prepared = _prepared(statement, self._connection.dialect)
        with self._cursor() as cursor:
            cursor.execute(prepared.sql, self._arranged(prepared, parameters))
            rows: Sequence[Any] = cursor.fetchall()
            return rows

    def column(self, statement: ClauseElement, parameters: Values = NOTHING) -> list[Any]:
        """Run a query and return the first column of its rows."""
        return [row[0] for row in self.fetch(statement, parameters)]

    def change(self, statement: ClauseElement, parameters: Values) -> None:
        """Run a statement that changes something."""
        prepared = _prepared(statement, self._connection.dialect, tuple(parameters))
        with self._cursor() as cursor:
            cursor.execute(prepared.sql, self._arranged(prepared, parameters))

    def change_each(
        self, statement: Insert | TextClause | RowChange, names: tuple[str, ...], rows: Sequence[Row]
    ) -> None:
        """Run a statement once for each row: its parameters, without lists, in the order of their names."""
        if not rows:
            return
        with self._cursor() as cursor:
            if is_postgresql(self._connection) and not isinstance(statement, TextClause):
                bulk = _in_bulk(statement, names)
                cursor.execute(bulk.sql, bulk.arrange(rows))
            else:
                by_row = _by_row(statement, self._connection.dialect, names)
                cursor.executemany(by_row.sql, by_row.arrange(rows))

    @contextmanager
    def _cursor(self) -> Iterator[DBAPICursor]:
        """Yield a cursor of the driver's, in a transaction. Its errors are translated; a connection that broke is not
        used again."""
        if not self._connection.in_transaction():
            with translated():
                self._connection.begin()
        driver, raw = self._connection.dialect.loaded_dbapi, self._connection.connection
        cursor = raw.cursor()
        try:
            yield cursor
        except driver.Error as error:
            if self._connection.dialect.is_disconnect(error, raw.dbapi_connection, cursor):
                self._connection.invalidate(error)
            raise _translation(error, breaks_rules=isinstance(error, driver.IntegrityError)) from error
        finally:
            cursor.close()

    def _arranged(self, prepared: _Prepared, parameters: Values) -> tuple[Any, ...]:
        return prepared.arrange(
            {
                name: texts(self._connection, value) if isinstance(value, list) else value
                for name, value in parameters.items()
            }
        )

    def lock(self, number: int) -> None:
        """Take the lock of that number; see ``advisory_lock``."""
        with translated():
            advisory_lock(self._connection, number)


@attrs.frozen
class _Prepared:
    """A statement as the driver takes it, and what puts parameters in their places."""

    sql: str
    arrange: Callable[[Values], tuple[Any, ...]]


@attrs.frozen
class _ByRow:
    """A statement as the driver takes it for many rows, and what puts their values in its places."""

    sql: str
    arrange: Callable[[Sequence[Row]], Sequence[Row]]


@lru_cache(maxsize=512)
def _by_row(statement: Insert | TextClause | RowChange, dialect: Dialect, names: tuple[str, ...]) -> _ByRow:
    """Compile a statement. Rows that have their values in its order, as most have, are handed on as they are."""
    if isinstance(statement, RowChange):
        statement = statement.one_by_one()
    columns = list(names) if isinstance(statement, Insert) else None
    compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
    places = [names.index(name) for name in compiled.positiontup]
    if places == list(range(len(names))):
        return _ByRow(str(compiled), lambda rows: rows)
    return _ByRow(str(compiled), lambda rows: [tuple([row[place] for place in places]) for row in rows])


@lru_cache(maxsize=512)
def _in_bulk(statement: Insert | RowChange, names: tuple[str, ...]) -> Bulk:
    if isinstance(statement, RowChange):
        return bulk_change(statement)
    return bulk_insert(statement.table, names)


@lru_cache(maxsize=512)
def _prepared(statement: ClauseElement, dialect: Dialect, columns: tuple[str, ...] = ()) -> _Prepared:
    """Compile a statement. It is done once, and its parameters go to the driver as they are: what SQLAlchemy does for
    each takes as long as the database."""
    names = list(columns) if isinstance(statement, Insert) else None
    compiled: Any = statement.compile(dialect=dialect, column_keys=names)
    fixed = {name: bound.value for name, bound in compiled.binds.items() if not bound.required}
    places = compiled.positiontup
    if not fixed and len(places) > 1:
        return _Prepared(str(compiled), itemgetter(*places))
    return _Prepared(
        str(compiled), lambda given: tuple(fixed[name] if name in fixed else given[name] for name in places)
    )
