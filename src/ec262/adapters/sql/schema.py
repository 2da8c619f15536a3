"""The tables. Constraints repeat the rules that a defect must not be able to break: nobody but the mint owes credits,
a transfer is posted once, a refunded task has no key, and a winning digest is there exactly when a task is won."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    or_,
)

from ec262.domain.commands import TaskState
from ec262.domain.ledger import MINT

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("token_digest", LargeBinary(32), nullable=False, unique=True),
    Column("opened_at", Double, nullable=False),
)

balances = Table(
    "balances",
    metadata,
    Column("account", String(80), primary_key=True),
    Column("balance", BigInteger, nullable=False),
)
balances.append_constraint(CheckConstraint(or_(balances.c.balance >= 0, balances.c.account == MINT), name="overdraft"))

transfers = Table(
    "transfers",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("id", String(200), nullable=False, unique=True),
    Column("debit", String(80), nullable=False, index=True),
    Column("credit", String(80), nullable=False, index=True),
    Column("amount", BigInteger, CheckConstraint("amount > 0", name="positive"), nullable=False),
    Column("reason", String(16), nullable=False),
    Column("task", String(64)),
    Column("at", Double, nullable=False),
    CheckConstraint("debit <> credit", name="two_accounts"),
)

members = Table(
    "members",
    metadata,
    Column("worker", ForeignKey(accounts.c.id), primary_key=True),
    Column("host", String(253), nullable=False),
    Column("port", Integer, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("runtime", Text, nullable=False),
    Column("packages", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)

purchases = Table(
    "purchases",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("foreman", ForeignKey(accounts.c.id), nullable=False),
    Column("command_digest", LargeBinary(32), nullable=False),
    Column("tasks", Integer, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False),
    Column("shortfall", Text, nullable=False),
    Column("forgotten_at", Double, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("foreman", ForeignKey(accounts.c.id), nullable=False),
    Column("purchase", String(64), nullable=False, index=True),
    Column("rule", String(64), nullable=False),
    Column("deadline", Double, nullable=False),
    Column("forgotten_at", Double, nullable=False, index=True),
    Column("key", LargeBinary(64)),
    Column("state", String(16), nullable=False),
    Column("digest", LargeBinary(32)),
    Index("tasks_due", "state", "deadline"),
    Index("tasks_held", "foreman", "state"),
)
_won = tasks.c.state.in_([TaskState.WON.value, TaskState.SETTLED.value])
_refunded = tasks.c.state == TaskState.REFUNDED.value
tasks.append_constraint(
    CheckConstraint(
        or_(and_(_won, tasks.c.digest.is_not(None)), and_(~_won, tasks.c.digest.is_(None))), name="digest_of_win"
    )
)
tasks.append_constraint(
    CheckConstraint(or_(and_(_refunded, tasks.c.key.is_(None)), and_(~_refunded, tasks.c.key.is_not(None))), name="key")
)

replicas = Table(
    "replicas",
    metadata,
    Column("task", ForeignKey(tasks.c.id, ondelete="CASCADE"), primary_key=True),
    Column("worker", ForeignKey(accounts.c.id), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("host", String(253), nullable=False),
    Column("port", Integer, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("secret", LargeBinary(64), nullable=False),
    Column("delivery_secret", LargeBinary(64), nullable=False),
    Column("digest", LargeBinary(32)),
    Column("arrival", Integer),
    Column("paid", Boolean(create_constraint=True, name="paid"), nullable=False),
    Column("given_up", Boolean(create_constraint=True, name="given_up"), nullable=False),
    UniqueConstraint("task", "arrival"),
    CheckConstraint("(digest IS NULL) = (arrival IS NULL)", name="arrival_of_digest"),
    CheckConstraint("digest IS NOT NULL OR NOT paid", name="paid_for_digest"),
    CheckConstraint("digest IS NULL OR NOT given_up", name="given_up_without_digest"),
)
