"""The tables of the first release, which had SQLite only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("token_digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("opened_at", sa.Double, nullable=False),
    )
    op.create_table(
        "balances",
        sa.Column("account", sa.String(80), primary_key=True),
        sa.Column("balance", sa.BigInteger, nullable=False),
        sa.CheckConstraint("balance >= 0 OR account = 'mint'", name="overdraft"),
    )
    op.create_table(
        "transfers",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(200), nullable=False, unique=True),
        sa.Column("debit", sa.String(80), nullable=False, index=True),
        sa.Column("credit", sa.String(80), nullable=False, index=True),
        sa.Column("amount", sa.BigInteger, sa.CheckConstraint("amount > 0", name="positive"), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("task", sa.String(64)),
        sa.Column("at", sa.Double, nullable=False),
        sa.CheckConstraint("debit <> credit", name="two_accounts"),
    )
    op.create_table(
        "members",
        sa.Column("worker", sa.String(64), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("host", sa.String(253), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("runtime", sa.Text, nullable=False),
        sa.Column("packages", sa.Text, nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False, index=True),
    )
    op.create_table(
        "purchases",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("foreman", sa.String(64), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("command_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("tasks", sa.Integer, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("credits", sa.BigInteger, nullable=False),
        sa.Column("shortfall", sa.Text, nullable=False),
        sa.Column("forgotten_at", sa.Double, nullable=False),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("foreman", sa.String(64), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("purchase", sa.String(64), nullable=False, index=True),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("deadline", sa.Double, nullable=False),
        sa.Column("forgotten_at", sa.Double, nullable=False, index=True),
        sa.Column("key", sa.LargeBinary(64)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("digest", sa.LargeBinary(32)),
        sa.Index("tasks_due", "state", "deadline"),
        sa.Index("tasks_held", "foreman", "state"),
        sa.CheckConstraint("(state IN ('won', 'settled')) = (digest IS NOT NULL)", name="digest_of_win"),
        sa.CheckConstraint("(state = 'refunded') = (key IS NULL)", name="key"),
    )
    op.create_table(
        "replicas",
        sa.Column("task", sa.String(64), sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("worker", sa.String(64), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("host", sa.String(253), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("secret", sa.LargeBinary(64), nullable=False),
        sa.Column("delivery_secret", sa.LargeBinary(64), nullable=False),
        sa.Column("digest", sa.LargeBinary(32)),
        sa.Column("arrival", sa.Integer),
        sa.Column("paid", sa.Boolean(create_constraint=True, name="paid"), nullable=False),
        sa.Column("given_up", sa.Boolean(create_constraint=True, name="given_up"), nullable=False),
        sa.UniqueConstraint("task", "arrival"),
        sa.CheckConstraint("(digest IS NULL) = (arrival IS NULL)", name="arrival_of_digest"),
        sa.CheckConstraint("digest IS NOT NULL OR NOT paid", name="paid_for_digest"),
        sa.CheckConstraint("digest IS NULL OR NOT given_up", name="given_up_without_digest"),
    )
