"""Tasks and their replicas over one open transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, bindparam, delete, func, insert, select, update

from ec262.adapters.sql import schema
from ec262.adapters.sql.statements import Statements
from ec262.domain.commands import TaskState, WorkerAddress
from ec262.domain.ports.unit_of_work import Holdings
from ec262.domain.tasks import RUNNING, Replica, Task

_RUNNING = sorted(state.value for state in RUNNING)
_CHANGING = ("digest", "arrival", "paid", "given_up")
"""What happens to a replica after it was drawn."""

_tasks, _replicas = schema.tasks, schema.replicas


class SqlTasks:
    """Tasks with their replicas."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def add(self, task: Task) -> None:
        """Store a new task."""
        self._statements.run(insert(_tasks), _task_values(task))
        self._statements.run(insert(_replicas), _replica_values(task))

    def save(self, task: Task) -> None:
        """Store a known task as it is now."""
        self._statements.run(
            update(_tasks)
            .where(_tasks.c.id == bindparam("known"))
            .values({name: bindparam(name) for name in ("state", "key", "digest")}),
            {"known": task.id, "state": task.state.value, "key": task.key, "digest": task.digest},
        )
        changed = [
            {"of": task.id, "by": replica.worker} | {name: getattr(replica, name) for name in _CHANGING}
            for replica in task.replicas
            if not replica.outstanding
        ]
        if changed:
            self._statements.run(
                update(_replicas)
                .where(_replicas.c.task == bindparam("of"), _replicas.c.worker == bindparam("by"))
                .values({name: bindparam(name) for name in _CHANGING}),
                changed,
            )

    def find(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist, in the order of their ids."""
        return self._load(_tasks.c.id.in_(bindparam("ids", expanding=True)), {"ids": list(tasks)})

    def of_purchase(self, purchase: str) -> Sequence[Task]:
        """Return the tasks of a purchase, in the order of their ids."""
        return self._load(_tasks.c.purchase == bindparam("purchase"), {"purchase": purchase})

    def due(self, now: float, *, limit: int) -> Sequence[Task]:
        """Return up to ``limit`` tasks whose deadline passed without having been applied."""
        passed = _tasks.c.state.in_(_RUNNING) & (_tasks.c.deadline <= bindparam("now"))
        return self._load(passed, {"now": now}, limit=limit)

    def busy(self) -> Mapping[str, int]:
        """Return, for each worker, its outstanding replicas of open tasks."""
        rows = self._statements.rows(
            select(_replicas.c.worker, func.count().label("count"))
            .join(_tasks, _tasks.c.id == _replicas.c.task)
            .where(_tasks.c.state == TaskState.OPEN.value, _replicas.c.digest.is_(None), ~_replicas.c.given_up)
            .group_by(_replicas.c.worker)
        )
        return {row["worker"]: row["count"] for row in rows}

    def holdings(self, foreman: str) -> Holdings:
        """Return what a foreman has under way."""
        row = self._statements.row(
            select(
                func.count(_tasks.c.id.distinct()).label("tasks"),
                func.count().label("credits"),
            )
            .join(_replicas, _replicas.c.task == _tasks.c.id)
            .where(_tasks.c.foreman == bindparam("foreman"), _tasks.c.state.in_(_RUNNING), ~_replicas.c.paid),
            {"foreman": foreman},
        )
        return Holdings(**row) if row is not None else Holdings(tasks=0, credits=0)

    def forget(self, now: float) -> None:
        """Drop the tasks to be forgotten whose deadline was applied, and with them their replicas."""
        self._statements.run(
            delete(_tasks).where(_tasks.c.forgotten_at <= bindparam("now"), _tasks.c.state.not_in(_RUNNING)),
            {"now": now},
        )

    def _load(
        self, condition: ColumnElement[bool], parameters: Mapping[str, Any], *, limit: int | None = None
    ) -> list[Task]:
        rows = self._statements.rows(select(_tasks).where(condition).order_by(_tasks.c.id).limit(limit), parameters)
        if not rows:
            return []
        replicas: dict[str, list[Replica]] = defaultdict(list)
        for row in self._statements.rows(
            select(_replicas)
            .where(_replicas.c.task.in_(bindparam("ids", expanding=True)))
            .order_by(_replicas.c.task, _replicas.c.position),
            {"ids": [row["id"] for row in rows]},
        ):
            replicas[row["task"]].append(_replica(row))
        return [Task(**{**row, "state": TaskState(row["state"])}, replicas=tuple(replicas[row["id"]])) for row in rows]


def _task_values(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "foreman": task.foreman,
        "purchase": task.purchase,
        "rule": task.rule,
        "deadline": task.deadline,
        "forgotten_at": task.forgotten_at,
        "key": task.key,
        "state": task.state.value,
        "digest": task.digest,
    }


def _replica_values(task: Task) -> list[dict[str, Any]]:
    return [
        {
            "task": task.id,
            "worker": replica.worker,
            "position": position,
            "host": replica.address.host,
            "port": replica.address.port,
            "fingerprint": replica.address.fingerprint,
            "secret": replica.secret,
            "delivery_secret": replica.delivery_secret,
            "digest": replica.digest,
            "arrival": replica.arrival,
            "paid": replica.paid,
            "given_up": replica.given_up,
        }
        for position, replica in enumerate(task.replicas)
    ]


def _replica(row: RowMapping) -> Replica:
    return Replica(
        worker=row["worker"],
        address=WorkerAddress(host=row["host"], port=row["port"], fingerprint=row["fingerprint"]),
        secret=row["secret"],
        delivery_secret=row["delivery_secret"],
        digest=row["digest"],
        arrival=row["arrival"],
        paid=row["paid"],
        given_up=row["given_up"],
    )
