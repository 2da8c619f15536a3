"""What SQLite and PostgreSQL do not say in the same words. All else is one set of statements for both."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Table,
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


def advisory_lock(connection: Connection, number: int) -> None:
    """Wait until nobody else has the lock of that number, and have it until the transaction ends. On SQLite there is
    nobody else: transactions exclude each other from their first moment on, which is now at the latest."""
    if not connection.in_transaction():
        connection.begin()
    if is_postgresql(connection):
        connection.execute(select(func.pg_advisory_xact_lock(number)))
