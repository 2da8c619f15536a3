"""Replicas that are computed are found by an index: those of decided tasks take slots, too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the index."""
    under_way = sa.text("fetched AND NOT given_up AND arrival IS NULL")
    op.create_index(
        "replicas_under_way", "replicas", ["task", "worker"], sqlite_where=under_way, postgresql_where=under_way
    )
