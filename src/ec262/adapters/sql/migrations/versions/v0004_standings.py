"""What is known of workers; tasks that are audited, won for the time being, or opened again.

Tasks and their replicas are made anew, since SQLite cannot change the conditions of a table that is there.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

CLUSTERED = {"sqlite_with_rowid": False}

TASK = "id, foreman, rule, runtime, packages, deadline, forgotten_at, key, state, digest"
REPLICA = (
    "task, worker, position, host, port, fingerprint, purchase, drawn_at, secret, delivery_secret, digest, arrival, "
    "paid, given_up, fetched"
)


def name_type(length: int) -> sa.String:
    """Say how names are compared."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Put tasks aside, make the tables, and fill them. Nothing was known of anybody, and nothing audited so far."""
    for table in ("replicas", "tasks"):
        op.execute(f"CREATE TEMPORARY TABLE old_{table} AS SELECT * FROM {table}")  # noqa: S608 - names from above
        op.drop_table(table)
    _make_tasks()
    _make_replicas()
    _make_standings()
    # A win of those days was by a quorum, and its confidence was not written down.
    op.execute(
        f"INSERT INTO tasks ({TASK}, audited, confidence, released) "  # noqa: S608 - columns from above
        f"SELECT {TASK}, FALSE, 0, FALSE FROM old_tasks"
    )
    op.execute(
        f"INSERT INTO replicas ({REPLICA}, trust_agreed, trust_recent) SELECT {REPLICA}, 0, 0 FROM old_replicas"  # noqa: S608 - columns from above
    )
    for table in ("replicas", "tasks"):
        op.execute(f"DROP TABLE old_{table}")


def _make_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", name_type(64), primary_key=True),
        sa.Column("foreman", name_type(64), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("runtime", sa.Text, nullable=False),
        sa.Column("packages", sa.Text, nullable=False),
        sa.Column("deadline", sa.Double, nullable=False),
        sa.Column("forgotten_at", sa.Double, nullable=False, index=True),
        sa.Column("key", sa.LargeBinary(64)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("digest", sa.LargeBinary(32)),
        sa.Column("audited", sa.Boolean, nullable=False),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("released", sa.Boolean, nullable=False),
        sa.Index("tasks_due", "state", "deadline"),
        sa.Index("tasks_held", "foreman", "state"),
        sa.CheckConstraint("(state IN ('provisional', 'won', 'settled')) = (digest IS NOT NULL)", name="digest_of_win"),
        sa.CheckConstraint("(state IN ('refunded', 'lapsed')) = (key IS NULL)", name="key"),
        sa.CheckConstraint("NOT released OR state <> 'refunded'", name="refund_or_key"),
        **CLUSTERED,
    )


def _make_replicas() -> None:
    op.create_table(
        "replicas",
        sa.Column("task", name_type(64), sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("worker", name_type(64), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("host", sa.String(253), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("purchase", name_type(64), nullable=False, index=True),
        sa.Column("drawn_at", sa.Double, nullable=False),
        sa.Column("secret", sa.LargeBinary(64), nullable=False),
        sa.Column("delivery_secret", sa.LargeBinary(64), nullable=False),
        sa.Column("digest", sa.LargeBinary(32)),
        sa.Column("arrival", sa.Integer),
        sa.Column("paid", sa.Boolean, nullable=False),
        sa.Column("given_up", sa.Boolean, nullable=False),
        sa.Column("fetched", sa.Boolean, nullable=False),
        sa.Column("trust_agreed", sa.Double, nullable=False),
        sa.Column("trust_recent", sa.Double, nullable=False),
        sa.CheckConstraint("(digest IS NULL) = (arrival IS NULL)", name="arrival_of_digest"),
        sa.CheckConstraint("digest IS NOT NULL OR NOT paid", name="paid_for_digest"),
        sa.CheckConstraint("digest IS NULL OR NOT given_up", name="given_up_without_digest"),
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
        sa.Column("as_of", sa.Double, nullable=False),
        sa.Column("dissented", sa.BigInteger, nullable=False),
        sa.Column("missed", sa.BigInteger, nullable=False),
        sa.Column("audited", sa.BigInteger, nullable=False),
        sa.Column("caught_at", sa.Double),
        sa.Column("alarmed_at", sa.Double),
        sa.CheckConstraint("foreman = '' OR caught_at IS NULL", name="lies_are_general"),
        sa.CheckConstraint("foreman <> '' OR alarmed_at IS NULL", name="alarms_are_a_foremans"),
        **CLUSTERED,
    )
    for column in ("caught_at", "alarmed_at"):
        condition = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"standings_{column}", "standings", [column], sqlite_where=condition, postgresql_where=condition
        )
