"""Limits and crashes are results: of each commitment it is known whether it is one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column. Whatever was committed before was no limit and no crash."""
    op.add_column("replicas", sa.Column("stopped", sa.Boolean, nullable=False, server_default=sa.false()))
