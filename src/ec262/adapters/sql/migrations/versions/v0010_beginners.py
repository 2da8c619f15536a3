"""Of each lease it is known whether its worker has earned anything."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column. Who is in the pool counts as a beginner until the lease is renewed."""
    op.add_column("members", sa.Column("earned", sa.Boolean, nullable=False, server_default=sa.false()))
    condition = sa.text("NOT earned")
    op.create_index("members_beginners", "members", ["expires_at"], sqlite_where=condition, postgresql_where=condition)
