"""Draws that a foreman could steer; accusations, and whom workers agreed with; anchors.

Standings are made anew, since SQLite cannot take a condition from a table that is there.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

CLUSTERED = {"sqlite_with_rowid": False}

STANDING = (
    "worker, runtime, foreman, agreed, recent, alarm, contributed, as_of, dissented, missed, audited, caught_at, "
    "alarmed_at"
)


def name_type(length: int) -> sa.String:
    """Say how names are compared."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Keep what is known. How the workers of old tasks were drawn is not: everybody learns nothing from these."""
    op.add_column("tasks", sa.Column("steered", sa.Boolean, nullable=False, server_default=sa.text("true")))
    op.execute("CREATE TEMPORARY TABLE old_standings AS SELECT * FROM standings")
    op.drop_table("standings")
    _make_standings()
    op.execute(
        f"INSERT INTO standings ({STANDING}, partners, accusers) SELECT {STANDING}, '', '' FROM old_standings"  # noqa: S608 - columns from above
    )
    op.execute("DROP TABLE old_standings")
    op.create_table(
        "anchors",
        sa.Column("worker", name_type(64), sa.ForeignKey("accounts.id"), primary_key=True),
        **CLUSTERED,
    )


def _make_standings() -> None:
    op.create_table(
        "standings",
        sa.Column("worker", name_type(64), primary_key=True),
        sa.Column("runtime", name_type(512), primary_key=True),
        sa.Column("foreman", name_type(64), primary_key=True),
        sa.Column("agreed", sa.Double, nullable=False),
        sa.Column("recent", sa.Double, nullable=False),
        sa.Column("alarm", sa.Double, nullable=False),
        sa.Column("contributed", sa.Double, nullable=False),
        sa.Column("as_of", sa.Double, nullable=False, index=True),
        sa.Column("dissented", sa.BigInteger, nullable=False),
        sa.Column("missed", sa.BigInteger, nullable=False),
        sa.Column("audited", sa.BigInteger, nullable=False),
        sa.Column("caught_at", sa.Double),
        sa.Column("alarmed_at", sa.Double),
        sa.Column("partners", sa.Text, nullable=False),
        sa.Column("accusers", sa.Text, nullable=False),
        sa.CheckConstraint("foreman <> '' OR alarmed_at IS NULL", name="alarms_are_a_foremans"),
        **CLUSTERED,
    )
    for column in ("caught_at", "alarmed_at"):
        condition = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"standings_{column}", "standings", [column], sqlite_where=condition, postgresql_where=condition
        )
