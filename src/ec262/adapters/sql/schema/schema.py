"""The tables. Constraints repeat the rules that a defect must not be able to break: nobody but the mint owes credits,
a transfer is posted once, a refunded task has no key and never gave it away, and a winning digest is there exactly
when a task is won, for good or for the time being.

What was released is made, and changed, by ``migrations``: a change here is a new revision there.
"""

from __future__ import annotations

from typing import Any

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
    false,
    text,
)

from ec262.domain.discovery.ledger import ESCROW, MINT
from ec262.domain.discovery.reputation import EVERYBODY
from ec262.domain.verification.task_state import TaskState

metadata = MetaData()

PROVISIONAL, WON, SETTLED = TaskState.PROVISIONAL.value, TaskState.WON.value, TaskState.SETTLED.value
REFUNDED, LAPSED = TaskState.REFUNDED.value, TaskState.LAPSED.value

CLUSTERED: dict[str, Any] = {"sqlite_with_rowid": False}
"""SQLite keeps such a table in the tree of its primary key, and spares a tree beside it."""


def name_type(length: int) -> String:
    """A text that is compared as Python does it, whatever language PostgreSQL has been set up for."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


accounts = Table(
    "accounts",
    metadata,
    Column("id", name_type(64), primary_key=True),
    Column("opened_at", Double, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("frozen", Boolean, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("account", ForeignKey(accounts.c.id), nullable=False, index=True),
    Column("revoked", Boolean, nullable=False),
    **CLUSTERED,
)

invitations = Table(
    "invitations",
    metadata,
    Column("id", name_type(64), primary_key=True),
    Column("code_digest", LargeBinary(32), nullable=False, unique=True),
    Column("credits", BigInteger, CheckConstraint("credits >= 0", name="invited"), nullable=False),
    Column("uses_left", BigInteger, CheckConstraint("uses_left >= 0", name="used_up"), nullable=False),
    Column("owner", String(200), nullable=False),
    Column("expires_at", Double),
)

reports = Table(
    "reports",
    metadata,
    Column("worker", ForeignKey(accounts.c.id), primary_key=True),
    Column("foreman", ForeignKey(accounts.c.id), primary_key=True),
    Column("at", Double, nullable=False),
    **CLUSTERED,
)

balances = Table(
    "balances",
    metadata,
    Column("account", name_type(80), primary_key=True),
    Column("balance", BigInteger, nullable=False),
    CheckConstraint(f"balance >= 0 OR account = '{MINT}'", name="overdraft"),
    **CLUSTERED,
)

transfers = Table(
    "transfers",
    metadata,
    # SQLite numbers rows by itself in columns that are INTEGER to the letter.
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", name_type(200), nullable=False, unique=True),
    Column("debit", name_type(80), nullable=False),
    Column("credit", name_type(80), nullable=False),
    Column("amount", BigInteger, CheckConstraint("amount > 0", name="positive"), nullable=False),
    Column("reason", String(16), nullable=False),
    Column("task", String(64)),
    Column("at", Double, nullable=False),
    CheckConstraint("debit <> credit", name="two_accounts"),
)
# Nobody asks for the statement of an escrow. There are many of them, all over the index: with them in it, a hundred
# thousand tasks make posting twice as slow.
DEBIT_IN_STATEMENTS = text(f"debit NOT LIKE '{ESCROW}%'")
CREDIT_IN_STATEMENTS = text(f"credit NOT LIKE '{ESCROW}%'")
Index(
    "transfers_debit",
    transfers.c.debit,
    transfers.c.position,
    sqlite_where=DEBIT_IN_STATEMENTS,
    postgresql_where=DEBIT_IN_STATEMENTS,
)
Index(
    "transfers_credit",
    transfers.c.credit,
    transfers.c.position,
    sqlite_where=CREDIT_IN_STATEMENTS,
    postgresql_where=CREDIT_IN_STATEMENTS,
)

# What old transfers come to, for each account and month (0 for escrows): see ``ec262.domain.discovery.folding``.
folds = Table(
    "folds",
    metadata,
    Column("account", name_type(80), primary_key=True),
    Column("month", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("movements", BigInteger, CheckConstraint("movements > 0", name="some_movements"), nullable=False),
    Column("purchase", BigInteger, nullable=False),
    Column("win", BigInteger, nullable=False),
    Column("dispute", BigInteger, nullable=False),
    Column("unpaid", BigInteger, nullable=False),
    Column("refund", BigInteger, nullable=False),
    **CLUSTERED,
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
    Column("owner", String(200), nullable=False),
    Column("block", String(253), nullable=False),
    Column("earned", Boolean, nullable=False, server_default=false()),
)
BEGINNER = text("NOT earned")
Index("members_beginners", members.c.expires_at, sqlite_where=BEGINNER, postgresql_where=BEGINNER)

purchases = Table(
    "purchases",
    metadata,
    Column("id", name_type(64), primary_key=True),
    Column("foreman", ForeignKey(accounts.c.id), nullable=False),
    Column("command_digest", LargeBinary(32), nullable=False),
    Column("tasks", Integer, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False),
    Column("shortfall", Text, nullable=False),
    Column("forgotten_at", Double, nullable=False),
)
MOVED_NOTHING = text("price = 0")
Index(
    "purchases_forgotten_at",
    purchases.c.forgotten_at,
    sqlite_where=MOVED_NOTHING,
    postgresql_where=MOVED_NOTHING,
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", name_type(64), primary_key=True),
    Column("foreman", ForeignKey(accounts.c.id), nullable=False),
    Column("rule", String(64), nullable=False),
    Column("runtime", Text, nullable=False),
    Column("packages", Text, nullable=False),
    Column("deadline", Double, nullable=False),
    Column("forgotten_at", Double, nullable=False, index=True),
    Column("key", LargeBinary(64)),
    Column("state", String(16), nullable=False),
    Column("digest", LargeBinary(32)),
    Column("audited", Boolean, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("released", Boolean, nullable=False),
    # What ``Task.escrow`` is: to count it anew would take the longer, the more tasks a foreman has had.
    Column("escrow", BigInteger, nullable=False, server_default=text("0")),
    Column("steered", Boolean, nullable=False, server_default=text("true")),
    Index("tasks_due", "state", "deadline"),
    CheckConstraint(
        f"(state IN ('{PROVISIONAL}', '{WON}', '{SETTLED}')) = (digest IS NOT NULL)",
        name="digest_of_win",
    ),
    CheckConstraint(f"(state IN ('{REFUNDED}', '{LAPSED}')) = (key IS NULL)", name="key"),
    CheckConstraint(f"NOT released OR state <> '{REFUNDED}'", name="refund_or_key"),
    **CLUSTERED,
)
HELD = text("escrow > 0")
Index("tasks_held", tasks.c.foreman, tasks.c.escrow, sqlite_where=HELD, postgresql_where=HELD)

replicas = Table(
    "replicas",
    metadata,
    Column("task", ForeignKey(tasks.c.id, ondelete="CASCADE"), primary_key=True),
    # No foreign key: workers are drawn from members, which has it. To check it again takes longer than the insert.
    Column("worker", name_type(64), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("host", String(253), nullable=False),
    Column("port", Integer, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("purchase", name_type(64), nullable=False, index=True),
    Column("drawn_at", Double, nullable=False),
    Column("secret", LargeBinary(64), nullable=False),
    Column("delivery_secret", LargeBinary(64), nullable=False),
    Column("digest", LargeBinary(32)),
    Column("arrival", Integer),
    Column("stopped", Boolean, nullable=False, server_default=false()),
    Column("paid", Boolean, nullable=False),
    Column("given_up", Boolean, nullable=False),
    Column("fetched", Boolean, nullable=False),
    Column("trust_agreed", Double, nullable=False),
    Column("trust_recent", Double, nullable=False),
    CheckConstraint("(digest IS NULL) = (arrival IS NULL)", name="arrival_of_digest"),
    CheckConstraint("digest IS NOT NULL OR NOT paid", name="paid_for_digest"),
    CheckConstraint("digest IS NULL OR NOT given_up", name="given_up_without_digest"),
    **CLUSTERED,
)

# Of many replicas few are computed at a time. ``arrival`` says whether a digest was committed; tasks have a ``digest``,
# too, and the condition names no table.
UNDER_WAY = text("fetched AND NOT given_up AND arrival IS NULL")
Index("replicas_under_way", replicas.c.task, replicas.c.worker, sqlite_where=UNDER_WAY, postgresql_where=UNDER_WAY)

standings = Table(
    "standings",
    metadata,
    # No foreign keys, as for replicas; and nobody in particular is in the general standings' place of a foreman.
    Column("worker", name_type(64), primary_key=True),
    Column("runtime", name_type(512), primary_key=True),
    Column("foreman", name_type(64), primary_key=True),
    Column("agreed", Double, nullable=False),
    Column("recent", Double, nullable=False),
    Column("alarm", Double, nullable=False),
    Column("contributed", Double, nullable=False),
    Column("as_of", Double, nullable=False, index=True),
    Column("dissented", BigInteger, nullable=False),
    Column("missed", BigInteger, nullable=False),
    Column("audited", BigInteger, nullable=False),
    Column("caught_at", Double),
    Column("alarmed_at", Double),
    Column("partners", Text, nullable=False),
    Column("accusers", Text, nullable=False),
    CheckConstraint(f"foreman <> '{EVERYBODY}' OR alarmed_at IS NULL", name="alarms_are_a_foremans"),
    **CLUSTERED,
)

anchors = Table(
    "anchors",
    metadata,
    Column("worker", ForeignKey(accounts.c.id), primary_key=True),
    **CLUSTERED,
)

CAUGHT, ALARMED = text("caught_at IS NOT NULL"), text("alarmed_at IS NOT NULL")
Index("standings_caught_at", standings.c.caught_at, sqlite_where=CAUGHT, postgresql_where=CAUGHT)
Index("standings_alarmed_at", standings.c.alarmed_at, sqlite_where=ALARMED, postgresql_where=ALARMED)
