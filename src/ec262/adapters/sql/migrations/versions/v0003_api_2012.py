"""The 2012 API's clients, tasks and books."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def name_type(length: int) -> sa.String:
    """Say how names are compared."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "clients_2012",
        sa.Column("addr", name_type(64), primary_key=True),
        sa.Column(
            "credits", sa.BigInteger, sa.CheckConstraint("credits >= 0", name="clients_2012_overdraft"), nullable=False
        ),
        sa.Column("port", sa.Integer),
        sa.Column("expires_at", sa.Double),
        sa.Column("pooled", sa.Boolean, nullable=False),
        sa.Column("tasks_completed", sa.BigInteger, nullable=False),
        sa.Column("tasks_failed", sa.BigInteger, nullable=False),
        sa.Index("clients_2012_pool", "pooled", "expires_at"),
        sa.CheckConstraint(
            "NOT pooled OR (port IS NOT NULL AND expires_at IS NOT NULL)", name="clients_2012_somewhere"
        ),
    )
    op.create_table(
        "tasks_2012",
        sa.Column("id", name_type(64), primary_key=True),
        sa.Column("foreman", name_type(64), sa.ForeignKey("clients_2012.addr"), nullable=False),
        sa.Column("key", sa.LargeBinary(64), nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False, index=True),
    )
    op.create_table(
        "workers_2012",
        sa.Column("task", name_type(64), sa.ForeignKey("tasks_2012.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("addr", name_type(64), sa.ForeignKey("clients_2012.addr"), primary_key=True),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.UniqueConstraint("task", "position", name="workers_2012_position"),
    )
    op.create_table(
        "entries_2012",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", name_type(160), nullable=False, unique=True),
        sa.Column("client", name_type(64), sa.ForeignKey("clients_2012.addr"), nullable=False, index=True),
        sa.Column(
            "amount", sa.BigInteger, sa.CheckConstraint("amount <> 0", name="entries_2012_amount"), nullable=False
        ),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("task", name_type(64)),
        sa.Column("at", sa.Double, nullable=False),
    )
