"""The tables of the 2012 API, apart from those of ``/v1``. Constraints repeat what a defect must not be able to break:
nobody owes credits, no line is written twice, no worker is in a task twice, and nobody waits in the pool nowhere."""

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
    String,
    Table,
    UniqueConstraint,
)

from ec262.adapters.sql.schema.schema import metadata, name_type

clients = Table(
    "clients_2012",
    metadata,
    Column("addr", name_type(64), primary_key=True),
    Column("credits", BigInteger, CheckConstraint("credits >= 0", name="clients_2012_overdraft"), nullable=False),
    Column("port", Integer),
    Column("expires_at", Double),
    Column("pooled", Boolean, nullable=False),
    Column("tasks_completed", BigInteger, nullable=False),
    Column("tasks_failed", BigInteger, nullable=False),
    Index("clients_2012_pool", "pooled", "expires_at"),
    CheckConstraint(
        "NOT pooled OR (port IS NOT NULL AND expires_at IS NOT NULL)",
        name="clients_2012_somewhere",
    ),
)

tasks = Table(
    "tasks_2012",
    metadata,
    Column("id", name_type(64), primary_key=True),
    Column("foreman", ForeignKey(clients.c.addr), nullable=False),
    Column("key", LargeBinary(64), nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)

workers = Table(
    "workers_2012",
    metadata,
    Column("task", ForeignKey(tasks.c.id, ondelete="CASCADE"), primary_key=True),
    Column("addr", ForeignKey(clients.c.addr), primary_key=True),
    Column("port", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    UniqueConstraint("task", "position", name="workers_2012_position"),
)

entries = Table(
    "entries_2012",
    metadata,
    # SQLite numbers rows by itself in columns that are INTEGER to the letter.
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", name_type(160), nullable=False, unique=True),
    Column("client", ForeignKey(clients.c.addr), nullable=False, index=True),
    Column("amount", BigInteger, CheckConstraint("amount <> 0", name="entries_2012_amount"), nullable=False),
    Column("reason", String(16), nullable=False),
    Column("task", name_type(64)),
    Column("at", Double, nullable=False),
)
