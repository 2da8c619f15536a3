"""The storage of the 2012 API in memory."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self

import attrs

from ec262.adapters.memory.table import Journal, Table
from ec262.domain.errors import LedgerError
from ec262.domain.legacy_2012.addresses_2012 import Endpoint2012
from ec262.domain.legacy_2012.clients_2012 import Client
from ec262.domain.legacy_2012.ledger_2012 import Entry, Reason2012, Totals
from ec262.domain.legacy_2012.tasks_2012 import Task2012


class MemoryClients2012:
    """Clients by address."""

    def __init__(self, journal: Journal) -> None:
        self.table: Table[Client] = Table(journal)

    def get(self, addr: str) -> Client | None:
        """Find a client."""
        return self.table.rows.get(addr)

    def find(self, addrs: Collection[str]) -> Sequence[Client]:
        """Return those of the clients that are known, in the order of their addresses."""
        return [self.table.rows[addr] for addr in sorted(set(addrs)) if addr in self.table.rows]

    def add(self, client: Client) -> None:
        """Store a new client."""
        self.save([client])

    def save(self, clients: Collection[Client]) -> None:
        """Store clients as they are now."""
        for client in clients:
            self.table.put(client.addr, client)

    def pool(self, now: float) -> Sequence[Endpoint2012]:
        """Return where those are who are in the pool and whose lease ends after ``now``, in order of addresses."""
        return [
            Endpoint2012(addr=addr, port=client.port)
            for addr, client in sorted(self.table.rows.items())
            if client.pooled and client.port is not None and client.expires_at is not None and client.expires_at > now
        ]

    def take(self, addrs: Collection[str]) -> None:
        """Take clients out of the pool."""
        self.save([attrs.evolve(client, pooled=False) for client in self.find(addrs)])


class MemoryTasks2012:
    """Open tasks by id."""

    def __init__(self, journal: Journal) -> None:
        self.table: Table[Task2012] = Table(journal)

    def get(self, task: str) -> Task2012 | None:
        """Find a task."""
        return self.table.rows.get(task)

    def add(self, tasks: Collection[Task2012]) -> None:
        """Store new tasks."""
        for task in tasks:
            self.table.put(task.id, task)

    def remove(self, tasks: Collection[str]) -> None:
        """Drop tasks."""
        for task in tasks:
            self.table.drop(task)

    def due(self, now: float, *, limit: int) -> Sequence[Task2012]:
        """Return up to ``limit`` tasks that end by themselves at ``now`` or before, those due for longest first."""
        due = [task for task in self.table.rows.values() if task.expires_at <= now]
        return sorted(due, key=lambda task: task.expires_at)[:limit]


class MemoryLedger2012:
    """The books, by the ids of their lines."""

    def __init__(self, journal: Journal, clients: MemoryClients2012, tasks: MemoryTasks2012) -> None:
        self._table: Table[Entry] = Table(journal)
        self._clients = clients
        self._tasks = tasks

    def post(self, entries: Collection[Entry]) -> None:
        """Write lines."""
        for entry in entries:
            if entry.id in self._table.rows:
                raise LedgerError(f"the line {entry.id} was written before")
            self._table.put(entry.id, entry)

    def history(self, addr: str) -> Sequence[Entry]:
        """Return a client's lines, oldest first."""
        return [entry for entry in self._table.rows.values() if entry.client == addr]

    def totals(self) -> Totals:
        """Return the sums over all clients, open tasks and grants."""
        return Totals(
            credits=sum(client.credits for client in self._clients.table.rows.values()),
            escrow=sum(task.price for task in self._tasks.table.rows.values()),
            granted=sum(entry.amount for entry in self._table.rows.values() if entry.reason is Reason2012.GRANT),
        )

    def unbalanced(self) -> Sequence[str]:
        """Return the clients whose credits are not the sum of their lines."""
        booked: Counter[str] = Counter()
        for entry in self._table.rows.values():
            booked[entry.client] += entry.amount
        clients = sorted(self._clients.table.rows.items())
        return [addr for addr, client in clients if client.credits != booked[addr]]


class MemoryStore2012:
    """Storage that lives as long as this object. Its ``unit_of_work`` is a UnitOfWork2012Factory."""

    def __init__(self) -> None:
        self.journal: Journal = []
        self.turn = threading.Lock()
        self.clients = MemoryClients2012(self.journal)
        self.tasks = MemoryTasks2012(self.journal)
        self.ledger = MemoryLedger2012(self.journal, self.clients, self.tasks)

    def unit_of_work(self) -> MemoryUnitOfWork2012:
        """Make a unit of work, to be entered once."""
        return MemoryUnitOfWork2012(self)


class MemoryUnitOfWork2012:
    """One transaction over a store."""

    def __init__(self, store: MemoryStore2012) -> None:
        self._store = store
        self.clients = store.clients
        self.tasks = store.tasks
        self.ledger = store.ledger

    def __enter__(self) -> Self:
        self._store.turn.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._store.journal:
            self._store.journal.pop()()
        self._store.turn.release()

    def commit(self) -> None:
        """Forget how to undo what was done."""
        self._store.journal.clear()
