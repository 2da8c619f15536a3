"""Tasks and their replicas over one open transaction: written in bulk, when the unit of work is committed or somebody
asks for tasks; of a task that was there before, only what has changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import compress
from operator import attrgetter

from sqlalchemy import ColumnElement, Table, and_, bindparam, delete, func, insert, literal_column, or_, select

from ec262.adapters.sql.engine.dialects import RowChange, one_of
from ec262.adapters.sql.engine.known_tasks import KnownTasks
from ec262.adapters.sql.engine.statements import Statements
from ec262.adapters.sql.schema import schema
from ec262.adapters.sql.task_rows import (
    CHANGING_REPLICA,
    CHANGING_TASK,
    REPLICA_COLUMNS,
    REPLICA_NAMES,
    TASK_COLUMNS,
    TASK_NAMES,
    Groups,
    Row,
    changed_rows,
    replica_rows,
    task_row,
    tasks_of,
    tasks_of_joined,
)
from ec262.domain.discovery.task_states import RUNNING
from ec262.domain.discovery.tasks import CLAIM_FRACTION, CLAIM_S, Task
from ec262.domain.discovery.unit_of_work import Holdings, Process
from ec262.domain.verification.task_state import TaskState

FORGET_LIMIT = 5_000
"""Most tasks that one call forgets: others wait for it. What is left comes with the next call."""

_RUNNING: list[ColumnElement[str]] = [literal_column(f"'{state.value}'") for state in TaskState if state in RUNNING]
_DECIDED: list[ColumnElement[str]] = [
    literal_column(f"'{state.value}'") for state in TaskState if state in RUNNING and state is not TaskState.OPEN
]

_tasks, _replicas = schema.tasks, schema.replicas

_LOCK = select(*TASK_COLUMNS).where(one_of(_tasks.c.id, "ids")).order_by(_tasks.c.id).with_for_update()
_REPLICAS = (
    select(*REPLICA_COLUMNS).where(one_of(_replicas.c.task, "ids")).order_by(_replicas.c.task, _replicas.c.position)
)
# Who locks nothing has to see both in one query: between two, others may change them.
_JOINED = (
    select(*TASK_COLUMNS, *REPLICA_COLUMNS).join_from(_tasks, _replicas).order_by(_tasks.c.id, _replicas.c.position)
)
_BY_ID = _JOINED.where(one_of(_tasks.c.id, "ids"))
_OF_PURCHASE = select(_replicas.c.task).where(_replicas.c.purchase == bindparam("purchase")).distinct()
_DUE = (
    select(_tasks.c.id)
    .where(_tasks.c.state.in_(_RUNNING), _tasks.c.deadline <= bindparam("now"))
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_OVER = (
    select(_tasks.c.id)
    .where(_tasks.c.forgotten_at <= bindparam("now"), _tasks.c.state.not_in(_RUNNING))
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_FORGET = delete(_tasks).where(one_of(_tasks.c.id, "ids"))
_BUSY = (  # Replica.takes_slot, of open tasks
    select(_replicas.c.worker, _replicas.c.fingerprint, func.count())
    .join_from(_tasks, _replicas)
    .where(
        _tasks.c.state == TaskState.OPEN.value,
        _replicas.c.digest.is_(None),
        ~_replicas.c.given_up,
        or_(
            _replicas.c.fetched,
            and_(
                _replicas.c.drawn_at + CLAIM_S > bindparam("now"),
                _replicas.c.drawn_at + CLAIM_FRACTION * (_tasks.c.deadline - _replicas.c.drawn_at) > bindparam("now"),
            ),
        ),
    )
    .group_by(_replicas.c.worker, _replicas.c.fingerprint)
)
_LATE = (  # Replica.is_late, of tasks that are decided and run
    select(_replicas.c.worker, _replicas.c.fingerprint, func.count())
    .join_from(_replicas, _tasks)
    # The empty text keeps SQLite from beginning with the tasks: many are decided, and nearly none has a late replica.
    .where(schema.UNDER_WAY, (_tasks.c.state + literal_column("''")).in_(_DECIDED))
    .group_by(_replicas.c.worker, _replicas.c.fingerprint)
)
_HOLDINGS = select(func.count(), func.coalesce(func.sum(_tasks.c.escrow), 0)).where(
    _tasks.c.foreman == bindparam("foreman"), schema.HELD
)
_ADD_TASKS, _ADD_REPLICAS = insert(_tasks), insert(_replicas)


class SqlTasks:
    """Tasks with their replicas."""

    def __init__(self, statements: Statements, stored: KnownTasks) -> None:
        self._statements = statements
        self._stored = stored
        self._pending: dict[str, Task] = {}
        self._new: set[str] = set()

    def add(self, tasks: Collection[Task]) -> None:
        """Store new tasks."""
        self._new.update(task.id for task in tasks)
        self.save(tasks)

    def save(self, tasks: Collection[Task]) -> None:
        """Store known tasks as they are now."""
        self._pending.update([(task.id, task) for task in tasks])

    def find(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist, in the order of their ids."""
        self.flush()
        if self._stored.lasting:
            return self._lock(tasks)
        unknown = self._stored.unknown(tasks)
        read = tasks_of_joined(self._statements.fetch(_BY_ID, {"ids": unknown})) if unknown else []
        return sorted((*read, *self._stored.among(tasks)), key=attrgetter("id"))

    def locked(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist, in the order of their ids, and lock them."""
        self.flush()
        return self._lock(tasks)

    def of_purchase(self, purchase: str) -> Sequence[Task]:
        """Return the tasks that have replicas of a purchase, in the order of their ids."""
        self.flush()
        return self.find(self._statements.column(_OF_PURCHASE, {"purchase": purchase}))

    def due(self, now: float, *, limit: int) -> Sequence[Task]:
        """Return up to ``limit`` tasks whose deadline passed without having been applied, and lock them."""
        self.flush()
        return self._lock(self._statements.column(_DUE, {"now": now, "most": limit}))

    def busy(self, now: float) -> Mapping[Process, int]:
        """Return, for each process that has any, how many replicas of open tasks take its slots."""
        self.flush()
        return _by_process(self._statements.fetch(_BUSY, {"now": now}))

    def late(self) -> Mapping[Process, int]:
        """Return, for each process that has any, how many replicas of decided tasks it may still be computing."""
        self.flush()
        return _by_process(self._statements.fetch(_LATE, {}))

    def holdings(self, foreman: str) -> Holdings:
        """Return what a foreman has under way."""
        self.flush()
        ((tasks, credits),) = self._statements.fetch(_HOLDINGS, {"foreman": foreman})
        return Holdings(tasks=tasks, credits=int(credits))  # PostgreSQL adds up to decimals

    def forget(self, now: float) -> None:
        """Drop the tasks to be forgotten whose deadline was applied, and with them their replicas."""
        self.flush()
        over = self._statements.column(_OVER, {"now": now, "most": FORGET_LIMIT})
        if over:
            self._stored.dropped(over)
            self._statements.change(_FORGET, {"ids": over})

    def flush(self) -> None:
        """Write what is new or has changed."""
        if self._pending:
            known = sorted(self._pending.keys() - self._new)
            before = self._lock(known)
            self._write_new([self._pending[name] for name in sorted(self._new)])
            self._write_changes(list(zip(before, [self._pending[name] for name in known], strict=True)))
            self._stored.wrote(self._pending.values())
            self._pending, self._new = {}, set()

    def release(self) -> None:
        """Called when everything is durable and the locks are released."""
        self._stored.committed()

    def end(self) -> None:
        """Called when uncommitted changes are undone."""
        self._stored.ended()

    def _write_new(self, tasks: Sequence[Task]) -> None:
        self._statements.change_each(_ADD_TASKS, TASK_NAMES, [task_row(task) for task in tasks])
        self._add_replicas([row for task in tasks for row in replica_rows(task)])

    def _write_changes(self, changes: Sequence[tuple[Task, Task]]) -> None:
        tasks, replicas = changed_rows(changes)
        self._change(_tasks, ("id",), CHANGING_TASK, tasks)
        self._change(_replicas, ("task", "worker"), CHANGING_REPLICA, replicas)
        grown = [(before, after) for before, after in changes if len(after.replicas) > len(before.replicas)]
        self._add_replicas([row for before, after in grown for row in replica_rows(after, since=len(before.replicas))])

    def _add_replicas(self, rows: Sequence[Row]) -> None:
        self._statements.change_each(_ADD_REPLICAS, REPLICA_NAMES, rows)

    def _change(self, table: Table, keys: tuple[str, ...], names: Sequence[str], groups: Groups) -> None:
        for which, rows in groups.items():
            change = RowChange(table=table, keys=keys, values=tuple(compress(names, which)))
            self._statements.change_each(change, change.names, rows)

    def _lock(self, tasks: Collection[str]) -> list[Task]:
        unknown = self._stored.unknown(tasks)
        if unknown:
            ids = {"ids": unknown}
            locked = self._statements.fetch(_LOCK, ids)
            self._stored.read(tasks_of(locked, self._statements.fetch(_REPLICAS, ids)))
        return self._stored.among(tasks)


def _by_process(rows: Sequence[Row]) -> Mapping[Process, int]:
    return {(worker, fingerprint): count for worker, fingerprint, count in rows}
