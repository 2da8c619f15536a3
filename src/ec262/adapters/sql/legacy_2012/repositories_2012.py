"""Clients, tasks and books of the 2012 API over one open transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

import attrs
from sqlalchemy import Column, ColumnElement, RowMapping, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from ec262.adapters.sql.engine.statements import Statements
from ec262.adapters.sql.schema.schema_2012 import clients, entries, tasks, workers
from ec262.domain.errors import DiscoveryUnavailable, LedgerError
from ec262.domain.legacy_2012.addresses_2012 import Endpoint2012
from ec262.domain.legacy_2012.clients_2012 import Client
from ec262.domain.legacy_2012.ledger_2012 import Entry, Reason2012, Totals
from ec262.domain.legacy_2012.tasks_2012 import Task2012

MOST_AT_ONCE = 10_000
"""Keys in one statement: databases have limits, the lowest of which is SQLite's 32,766."""


class SqlClients2012:
    """The accounts."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def get(self, addr: str) -> Client | None:
        """Find a client."""
        row = self._statements.row(select(clients).where(clients.c.addr == bindparam("key")), {"key": addr})
        return None if row is None else Client(**row)

    def find(self, addrs: Collection[str]) -> Sequence[Client]:
        """Return those of the clients that are known, in the order of their addresses."""
        statement = select(clients).where(_among(clients.c.addr)).order_by(clients.c.addr)
        return [
            Client(**row)
            for keys in _portions(sorted(addrs))
            for row in self._statements.rows(statement, {"keys": keys})
        ]

    def add(self, client: Client) -> None:
        """Store a new client."""
        self._statements.run(insert(clients), attrs.asdict(client))

    def save(self, changed: Collection[Client]) -> None:
        """Store known clients as they are now."""
        statement = update(clients).where(clients.c.addr == bindparam("key"))
        if changed:
            self._statements.run(statement, [attrs.asdict(client) | {"key": client.addr} for client in changed])

    def pool(self, now: float) -> Sequence[Endpoint2012]:
        """Return where those are who are in the pool and whose lease ends after ``now``, in order of addresses."""
        statement = (
            select(clients.c.addr, clients.c.port)
            .where(clients.c.pooled, clients.c.expires_at > bindparam("now"))
            .order_by(clients.c.addr)
        )
        return [Endpoint2012(**row) for row in self._statements.rows(statement, {"now": now})]

    def take(self, addrs: Collection[str]) -> None:
        """Take clients out of the pool."""
        statement = update(clients).where(_among(clients.c.addr)).values(pooled=False)
        for keys in _portions(sorted(addrs)):
            self._statements.run(statement, {"keys": keys})


class SqlTasks2012:
    """Open tasks."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def get(self, task: str) -> Task2012 | None:
        """Find a task."""
        rows = self._statements.rows(select(tasks).where(tasks.c.id == bindparam("key")), {"key": task})
        return next(iter(self._whole(rows)), None)

    def add(self, new: Collection[Task2012]) -> None:
        """Store new tasks."""
        if not new:
            return
        self._statements.run(insert(tasks), [_task_values(task) for task in new])
        self._statements.run(
            insert(workers),
            [
                {"task": task.id, "addr": worker.addr, "port": worker.port, "position": position}
                for task in new
                for position, worker in enumerate(task.workers)
            ],
        )

    def remove(self, ended: Collection[str]) -> None:
        """Drop tasks; their workers go with them."""
        for keys in _portions(sorted(ended)):
            self._statements.run(delete(tasks).where(_among(tasks.c.id)), {"keys": keys})

    def due(self, now: float, *, limit: int) -> Sequence[Task2012]:
        """Return up to ``limit`` tasks that end by themselves at ``now`` or before, those due for longest first."""
        statement = (
            select(tasks)
            .where(tasks.c.expires_at <= bindparam("now"))
            .order_by(tasks.c.expires_at, tasks.c.id)
            .limit(bindparam("most"))
        )
        return self._whole(self._statements.rows(statement, {"now": now, "most": limit}))

    def _whole(self, rows: Sequence[RowMapping]) -> list[Task2012]:
        if not rows:
            return []
        teams: defaultdict[str, list[Endpoint2012]] = defaultdict(list)
        statement = select(workers).where(_among(workers.c.task)).order_by(workers.c.position)
        for row in self._statements.rows(statement, {"keys": [row["id"] for row in rows]}):
            teams[row["task"]].append(Endpoint2012(addr=row["addr"], port=row["port"]))
        return [Task2012(**row, workers=tuple(teams[row["id"]])) for row in rows]


class SqlLedger2012:
    """The books."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def post(self, lines: Collection[Entry]) -> None:
        """Write lines."""
        if not lines:
            return
        try:
            self._statements.run(
                insert(entries), [attrs.asdict(line) | {"reason": line.reason.value} for line in lines]
            )
        except DiscoveryUnavailable as error:
            if isinstance(error.__cause__, IntegrityError):  # units of work exclude each other: nobody else did it
                raise LedgerError("a line was written before") from error
            raise

    def history(self, addr: str) -> Sequence[Entry]:
        """Return a client's lines, oldest first."""
        statement = select(entries).where(entries.c.client == bindparam("key")).order_by(entries.c.position)
        return [_entry(row) for row in self._statements.rows(statement, {"key": addr})]

    def totals(self) -> Totals:
        """Return the sums over all clients, open tasks and grants."""
        statement = select(
            select(func.coalesce(func.sum(clients.c.credits), 0)).scalar_subquery().label("credits"),
            select(func.count()).select_from(workers).scalar_subquery().label("escrow"),
            select(func.coalesce(func.sum(entries.c.amount), 0))
            .where(entries.c.reason == bindparam("grant"))
            .scalar_subquery()
            .label("granted"),
        )
        (row,) = self._statements.rows(statement, {"grant": Reason2012.GRANT.value})
        return Totals(**{name: int(total) for name, total in row.items()})

    def unbalanced(self) -> Sequence[str]:
        """Return the clients whose credits are not the sum of their lines."""
        booked = (
            select(entries.c.client, func.sum(entries.c.amount).label("amount")).group_by(entries.c.client).subquery()
        )
        statement = (
            select(clients.c.addr)
            .outerjoin(booked, booked.c.client == clients.c.addr)
            .where(clients.c.credits != func.coalesce(booked.c.amount, 0))
            .order_by(clients.c.addr)
        )
        return [row["addr"] for row in self._statements.rows(statement)]


def _task_values(task: Task2012) -> dict[str, object]:
    return {"id": task.id, "foreman": task.foreman, "key": task.key, "expires_at": task.expires_at}


def _entry(row: RowMapping) -> Entry:
    values = {name: value for name, value in row.items() if name != "position"}
    return Entry(**values | {"reason": Reason2012(values["reason"])})


def _among(column: Column[str]) -> ColumnElement[bool]:
    return column.in_(bindparam("keys", expanding=True))


def _portions(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + MOST_AT_ONCE] for start in range(0, len(keys), MOST_AT_ONCE))
