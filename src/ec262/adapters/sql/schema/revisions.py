"""Which revision of the tables a database has, and bringing it to the present one."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, insert, inspect, select, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from ec262.adapters.sql.engine.dialects import POSTGRESQL, advisory_lock
from ec262.adapters.sql.engine.engines import speakable
from ec262.adapters.sql.schema.schema_2012 import clients
from ec262.domain.errors import ConfigurationError

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")
"""Those in ``migrations``, oldest first. The embedded system makes a new database for each job, so that what is known
here spares it Alembic: that is imported to upgrade a database, and only then."""

PRESENT = REVISIONS[-1]

MIGRATION_LOCK = 262_0000
"""The number of PostgreSQL's advisory lock for who makes or changes tables; others wait so long:"""
MIGRATION_WAIT = "10min"

_metadata = clients.metadata
"""All tables: the 2012 API's are added to those of ``/v1``."""

_version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
_UNVERSIONED = frozenset({"accounts", "transfers", "tasks"})
"""Tables of the release that wrote no version, which was the first."""


def bring_up_to_date(engine: Engine, *, create: bool = True) -> None:
    """Make the tables in an empty database, and upgrade those of an earlier release, once, in one transaction: all of
    it happens or nothing. Raises ConfigurationError if a later release made them, or, unless they are to be created,
    if there are none."""
    with engine.connect() as connection:
        try:
            present = connection.scalar(select(_version.c.version_num)) == PRESENT
        except (OperationalError, ProgrammingError):  # there is no such table
            present = False
    if not present:
        with engine.connect() as connection, connection.begin():
            _lock(connection)
            _change(connection, create=create)


def _lock(connection: Connection) -> None:
    if connection.dialect.name == POSTGRESQL:
        connection.execute(text(f"SET LOCAL lock_timeout = '{MIGRATION_WAIT}'"))
    advisory_lock(connection, MIGRATION_LOCK)


def _change(connection: Connection, *, create: bool) -> None:
    """Bring the tables to the present revision, whatever it is now: another process may have been quicker."""
    found = _revision(connection, inspect(connection).get_table_names())
    if found is None and not create:
        raise ConfigurationError(
            f"the database {speakable(connection.engine.url)} is not discovery's: it has none of its tables"
        )
    if found is None:
        _metadata.create_all(connection, checkfirst=False)
        _version.create(connection)
        connection.execute(insert(_version).values(version_num=PRESENT))
    elif found not in REVISIONS:
        raise ConfigurationError(
            f"the database's tables are of revision {found}, which this release does not know: a later one made them"
        )
    elif found != PRESENT:
        from ec262.adapters.sql.migrations import upgrade  # noqa: PLC0415 - Alembic is for those who need it

        upgrade(connection, found)


def _revision(connection: Connection, tables: Collection[str]) -> str | None:
    if _version.name in tables:
        return connection.scalar(select(_version.c.version_num))
    return REVISIONS[0] if _UNVERSIONED.issubset(tables) else None
