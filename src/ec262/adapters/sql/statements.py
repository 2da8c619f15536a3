"""Running statements on one connection, with the driver's errors translated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Executable, RowMapping
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ec262.domain.errors import DiscoveryUnavailable, LedgerError

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


@contextmanager
def translated() -> Iterator[None]:
    """Raise LedgerError where a constraint holds, DiscoveryUnavailable where the database does not do its work.

    The driver's text stays out of the message: it may quote parameters, and these may be secrets.
    """
    try:
        yield
    except IntegrityError as error:
        raise LedgerError("the database refuses a change that breaks its rules") from error
    except SQLAlchemyError as error:
        raise DiscoveryUnavailable("the database does not answer") from error


class Statements:
    """A connection as the repositories use it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, statement: Executable, parameters: Parameters = None) -> Sequence[RowMapping]:
        """Run a query and return its rows."""
        with translated():
            return self._connection.execute(statement, parameters).mappings().all()

    def row(self, statement: Executable, parameters: Parameters = None) -> RowMapping | None:
        """Run a query and return its first row."""
        with translated():
            return self._connection.execute(statement, parameters).mappings().first()

    def run(self, statement: Executable, parameters: Parameters = None) -> None:
        """Run a statement that changes something; a list of parameters runs it once for each."""
        with translated():
            self._connection.execute(statement, parameters)
