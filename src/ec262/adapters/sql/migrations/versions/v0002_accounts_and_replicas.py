"""Accounts with several tokens, owners and frozen ones; invitations; reports; workers drawn for a task at different
times. Names are compared byte by byte on every database.

The tables are made anew, since SQLite can change little in a table that is there.
"""

from __future__ import annotations

import ipaddress

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

OLD = ("replicas", "tasks", "purchases", "members", "transfers", "balances", "accounts")
"""Those that refer to others come before these."""

# Of what runtime the workers of a task are was not written down. Where none of them is there any more to be asked, this
# is one that nobody has, so that no replica is added that could not be compared.
UNKNOWN_RUNTIME = (
    '{"python":{"implementation":"unknown","magic":0,"cloudpickle":"unknown","version":"unknown"},'
    '"machine":"unknown","sandbox":"unknown","canonical_format":1}'
)

CLUSTERED = {"sqlite_with_rowid": False}


def name_type(length: int) -> sa.String:
    """Say how names are compared."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Put the data aside, make the tables, and fill them."""
    for table in OLD:
        op.execute(f"CREATE TEMPORARY TABLE old_{table} AS SELECT * FROM {table}")  # noqa: S608 - names from above
        op.drop_table(table)
    _make_accounts()
    _make_books()
    _make_pool()
    _make_tasks()
    _fill()
    for table in OLD:
        op.execute(f"DROP TABLE old_{table}")


def _make_accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", name_type(64), primary_key=True),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("frozen", sa.Boolean, nullable=False),
    )
    op.create_table(
        "tokens",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("account", name_type(64), sa.ForeignKey("accounts.id"), nullable=False, index=True),
        sa.Column("revoked", sa.Boolean, nullable=False),
        **CLUSTERED,
    )
    op.create_table(
        "invitations",
        sa.Column("id", name_type(64), primary_key=True),
        sa.Column("code_digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("credits", sa.BigInteger, sa.CheckConstraint("credits >= 0", name="invited"), nullable=False),
        sa.Column("uses_left", sa.BigInteger, sa.CheckConstraint("uses_left >= 0", name="used_up"), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("expires_at", sa.Double),
    )
    op.create_table(
        "reports",
        sa.Column("worker", name_type(64), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("foreman", name_type(64), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        **CLUSTERED,
    )


def _make_books() -> None:
    op.create_table(
        "balances",
        sa.Column("account", name_type(80), primary_key=True),
        sa.Column("balance", sa.BigInteger, nullable=False),
        sa.CheckConstraint("balance >= 0 OR account = 'mint'", name="overdraft"),
        **CLUSTERED,
    )
    op.create_table(
        "transfers",
        sa.Column(
            "position",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("id", name_type(200), nullable=False, unique=True),
        sa.Column("debit", name_type(80), nullable=False),
        sa.Column("credit", name_type(80), nullable=False),
        sa.Column("amount", sa.BigInteger, sa.CheckConstraint("amount > 0", name="positive"), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("task", sa.String(64)),
        sa.Column("at", sa.Double, nullable=False),
        sa.CheckConstraint("debit <> credit", name="two_accounts"),
    )
    for side in ("debit", "credit"):
        condition = sa.text(f"{side} NOT LIKE 'escrow:%'")
        op.create_index(
            f"transfers_{side}",
            "transfers",
            [side, "position"],
            sqlite_where=condition,
            postgresql_where=condition,
        )


def _make_pool() -> None:
    op.create_table(
        "members",
        sa.Column("worker", name_type(64), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("host", sa.String(253), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("runtime", sa.Text, nullable=False),
        sa.Column("packages", sa.Text, nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False, index=True),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("block", sa.String(253), nullable=False),
    )


def _make_tasks() -> None:
    op.create_table(
        "purchases",
        sa.Column("id", name_type(64), primary_key=True),
        sa.Column("foreman", name_type(64), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("command_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("tasks", sa.Integer, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("credits", sa.BigInteger, nullable=False),
        sa.Column("shortfall", sa.Text, nullable=False),
        sa.Column("forgotten_at", sa.Double, nullable=False),
    )
    moved_nothing = sa.text("price = 0")
    op.create_index(
        "purchases_forgotten_at",
        "purchases",
        ["forgotten_at"],
        sqlite_where=moved_nothing,
        postgresql_where=moved_nothing,
    )
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
        sa.Index("tasks_due", "state", "deadline"),
        sa.Index("tasks_held", "foreman", "state"),
        sa.CheckConstraint("(state IN ('won', 'settled')) = (digest IS NOT NULL)", name="digest_of_win"),
        sa.CheckConstraint("(state = 'refunded') = (key IS NULL)", name="key"),
        **CLUSTERED,
    )
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
        sa.CheckConstraint("(digest IS NULL) = (arrival IS NULL)", name="arrival_of_digest"),
        sa.CheckConstraint("digest IS NOT NULL OR NOT paid", name="paid_for_digest"),
        sa.CheckConstraint("digest IS NULL OR NOT given_up", name="given_up_without_digest"),
        **CLUSTERED,
    )


def _fill() -> None:
    """Give each account itself as owner, and each replica the time at which its task was paid for. Replicas count as
    fetched: so far they all took a slot until the end."""
    op.execute("INSERT INTO accounts SELECT id, opened_at, id, FALSE FROM old_accounts")
    op.execute("INSERT INTO tokens SELECT token_digest, id, FALSE FROM old_accounts")
    op.execute("INSERT INTO balances SELECT account, balance FROM old_balances")
    op.execute(
        "INSERT INTO transfers (position, id, debit, credit, amount, reason, task, at) "
        "SELECT position, id, debit, credit, amount, reason, task, at FROM old_transfers ORDER BY position"
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "SELECT setval(pg_get_serial_sequence('transfers', 'position'), max(position)) "
            "FROM transfers HAVING max(position) IS NOT NULL"
        )
    op.execute(
        "INSERT INTO members (worker, host, port, fingerprint, runtime, packages, slots, expires_at, owner, block) "
        "SELECT worker, host, port, fingerprint, runtime, packages, slots, expires_at, worker, host FROM old_members"
    )
    _name_blocks()
    op.execute(
        "INSERT INTO purchases (id, foreman, command_digest, tasks, price, credits, shortfall, forgotten_at) "
        "SELECT id, foreman, command_digest, tasks, price, credits, shortfall, forgotten_at FROM old_purchases"
    )
    op.execute(
        sa.text(
            "INSERT INTO tasks (id, foreman, rule, runtime, packages, deadline, forgotten_at, key, state, digest) "
            "SELECT id, foreman, rule, :runtime, '[]', deadline, forgotten_at, key, state, digest FROM old_tasks"
        ).bindparams(runtime=UNKNOWN_RUNTIME)
    )
    op.execute(
        "INSERT INTO replicas (task, worker, position, host, port, fingerprint, purchase, drawn_at, secret, "
        "delivery_secret, digest, arrival, paid, given_up, fetched) "
        "SELECT r.task, r.worker, r.position, r.host, r.port, r.fingerprint, t.purchase, coalesce(x.at, 0), r.secret, "
        "r.delivery_secret, r.digest, r.arrival, r.paid, r.given_up, TRUE FROM old_replicas r "
        "JOIN old_tasks t ON t.id = r.task LEFT JOIN transfers x ON x.id = 'purchase:' || r.task"
    )
    op.execute(
        "UPDATE tasks SET runtime = coalesce((SELECT m.runtime FROM replicas r JOIN members m ON m.worker = r.worker "
        "WHERE r.task = tasks.id ORDER BY r.position LIMIT 1), runtime)"
    )


def _name_blocks() -> None:
    """Say of each worker in which block of addresses it is: /24 of IPv4, /48 of IPv6, a name itself."""
    connection = op.get_bind()
    for worker, host in connection.execute(sa.text("SELECT worker, host FROM members")).all():
        connection.execute(
            sa.text("UPDATE members SET block = :block WHERE worker = :worker"),
            {"block": _block(host), "worker": worker},
        )


def _block(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower()
    bits = {4: 24, 6: 48}[address.version]
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))
