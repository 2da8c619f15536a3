"""What SQLite and PostgreSQL do not say in the same words. All else is one set of statements for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Table,
    TableClause,
    Text,
    TextClause,
    bindparam,
    func,
    select,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

POSTGRESQL = "postgresql"

UNIQUE_VIOLATION = "23505"
IN_EACH_OTHERS_WAY = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, lock timeout: PostgreSQL's documentation, appendix A."""


def is_postgresql(connection: Connection) -> bool:
    """Tell which of the two it is."""
    return connection.dialect.name == POSTGRESQL


class OneOf(FunctionElement[bool]):
    """Whether a column is one of a parameter's texts: the same statement for one of them and for thousands.

    It has no type: for one of type Boolean, SQLAlchemy asks SQLite whether it ``= 1``, and that is for no index.
    """

    inherit_cache = True


def one_of(column: ColumnElement[str], name: str) -> OneOf:
    """Compare a column with the list parameter of that name."""
    return OneOf(column, bindparam(name, type_=ARRAY(Text)))


@compiles(OneOf, POSTGRESQL)
def _any_of_array(element: OneOf, compiler: SQLCompiler, **options: Any) -> str:
    column, texts = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} = ANY({texts})"


@compiles(OneOf, "sqlite")
def _in_json(element: OneOf, compiler: SQLCompiler, **options: Any) -> str:
    column, texts = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({texts}))"  # noqa: S608 - a column and a bound parameter, by name


def texts(connection: Connection, values: list[str]) -> Any:
    """Make a list parameter what the driver takes: an array, or on SQLite, which has none, JSON."""
    return values if is_postgresql(connection) else msgspec.json.encode(values).decode()


def upsert(table: Table) -> TextClause:
    """Insert a row, or replace the one with its primary key; its parameters are the columns' names. Both databases say
    it in the same words, for which SQLAlchemy has two constructs."""
    names = [column.name for column in table.columns]
    keys = [column.name for column in table.primary_key.columns]
    return text(
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)}) "  # noqa: S608 - the schema's own names
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    )


@attrs.frozen(kw_only=True)
class RowChange:
    """Changing the ``values`` of one row, the one with these ``keys``; the parameters are the columns' ``names``."""

    table: Table
    keys: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters in the order in which the statement has them."""
        return self.values + self.keys

    def one_by_one(self) -> TextClause:
        """Return the statement for one row."""
        changes = ", ".join(f"{name} = :{name}" for name in self.values)
        found = " AND ".join(f"{key} = :{key}" for key in self.keys)
        return text(f"UPDATE {self.table.name} SET {changes} WHERE {found}")  # noqa: S608 - the schema's own names


_ARRAYS = {str: "text[]", bytes: "bytea[]", int: "bigint[]", float: "float8[]", bool: "boolean[]"}


@attrs.frozen
class Bulk:
    """One statement of PostgreSQL for many rows, whose columns are its parameters: arrays. A statement for each row
    takes it twice as long."""

    sql: str
    arrange: Callable[[Sequence[Sequence[Any]]], tuple[list[Any], ...]]


def bulk_insert(table: TableClause, names: tuple[str, ...]) -> Bulk:
    """Insert rows that have these columns, in their order."""
    return _bulk(table, names, f"INSERT INTO {table.name} ({_listed(names)}) SELECT {_listed(names)} FROM {{given}}")  # noqa: S608 - the schema's own names


def bulk_change(change: RowChange) -> Bulk:
    """Change rows."""
    name = change.table.name
    values = ", ".join(f"{value} = given.{value}" for value in change.values)
    found = " AND ".join(f"{name}.{key} = given.{key}" for key in change.keys)
    return _bulk(change.table, change.names, f"UPDATE {name} SET {values} FROM {{given}} WHERE {found}")  # noqa: S608 - the schema's own names


def _bulk(table: TableClause, names: tuple[str, ...], sql: str) -> Bulk:
    kinds = [table.c[name].type.python_type for name in names]
    arrays = ", ".join(f"%b::{_ARRAYS[kind]}" for kind in kinds)

    def arrange(rows: Sequence[Sequence[Any]]) -> tuple[list[Any], ...]:
        # The driver wants the elements of an array to be of one type, and an int is a float, too.
        return tuple(
            [float(value) for value in column] if kind is float else list(column)
            for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)
        )

    return Bulk(sql.format(given=f"unnest({arrays}) AS given ({_listed(names)})"), arrange)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def advisory_lock(connection: Connection, number: int) -> None:
    """Wait until nobody else has the lock of that number, and have it until the transaction ends. On SQLite there is
    nobody else: transactions exclude each other from their first moment on, which is now at the latest."""
    if not connection.in_transaction():
        connection.begin()
    if is_postgresql(connection):
        connection.execute(select(func.pg_advisory_xact_lock(number)))
