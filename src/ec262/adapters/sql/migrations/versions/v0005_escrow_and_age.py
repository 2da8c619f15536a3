"""What a task holds stands beside it, for a foreman's holdings to be added up without a look at all its replicas; old
standings are found by an index.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

UNPAID = (
    "SELECT count(*) FROM replicas WHERE replicas.task = tasks.id AND NOT replicas.paid "
    "AND tasks.state IN ('open', 'provisional', 'won')"
)


def upgrade() -> None:
    """Add the column, fill it, and let the index of who holds what have those tasks alone that hold something."""
    op.add_column("tasks", sa.Column("escrow", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.execute(f"UPDATE tasks SET escrow = ({UNPAID})")  # noqa: S608 - the text above
    op.create_index("ix_standings_as_of", "standings", ["as_of"])
    op.drop_index("tasks_held", "tasks")
    held = sa.text("escrow > 0")
    op.create_index("tasks_held", "tasks", ["foreman", "escrow"], sqlite_where=held, postgresql_where=held)
