"""The tables' revisions, by Alembic: ``versions`` has a module for each, which says how to get there with the data.

Once released, a revision is never changed. The newest is also named in ``ec262.adapters.sql.schema.revisions``.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection, found: str) -> None:
    """Bring the tables from a revision to the newest, inside the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.stamp(config, found)  # the first release did not
    command.upgrade(config, "head")
