"""What old transfers come to, by account and month, in a table of its own: so they need not be kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table; the service fills it."""
    name = sa.String(80).with_variant(sa.String(80, collation="C"), "postgresql")
    op.create_table(
        "folds",
        sa.Column("account", name, primary_key=True),
        sa.Column("month", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column(
            "movements", sa.BigInteger, sa.CheckConstraint("movements > 0", name="some_movements"), nullable=False
        ),
        *(
            sa.Column(reason, sa.BigInteger, nullable=False)
            for reason in ("purchase", "win", "dispute", "unpaid", "refund")
        ),
        sqlite_with_rowid=False,
    )
