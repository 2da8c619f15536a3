"""The discovery service's storage in memory: dictionaries, a lock, and a journal of what to undo."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Generic, Self, TypeVar

from ec262.domain.accounts import Account
from ec262.domain.commands import TaskState
from ec262.domain.errors import LedgerError
from ec262.domain.ledger import Transfer, moved
from ec262.domain.pool import Member
from ec262.domain.ports.unit_of_work import Holdings
from ec262.domain.purchases import PurchaseRecord
from ec262.domain.tasks import RUNNING, Task

Row = TypeVar("Row")
Journal = list[Callable[[], None]]


class Table(Generic[Row]):
    """Rows by key; every change leaves its undoing in the journal."""

    def __init__(self, journal: Journal) -> None:
        self.rows: dict[str, Row] = {}
        self._journal = journal

    def put(self, key: str, row: Row) -> None:
        """Add or replace a row."""
        self._journal.append(partial(self._restore, key, self.rows.get(key)))
        self.rows[key] = row

    def drop(self, key: str) -> None:
        """Remove a row, if it is there."""
        self._journal.append(partial(self._restore, key, self.rows.pop(key, None)))

    def _restore(self, key: str, row: Row | None) -> None:
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = row


class MemoryAccounts:
    """Accounts by the digest of their token."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[Account] = Table(journal)

    def by_token(self, token_digest: bytes) -> Account | None:
        """Find the account that a token opens."""
        return self._table.rows.get(token_digest.hex())

    def add(self, account: Account) -> None:
        """Store a new account."""
        self._table.put(account.token_digest.hex(), account)


class MemoryLedger:
    """The books."""

    def __init__(self, journal: Journal) -> None:
        self._transfers: Table[Transfer] = Table(journal)
        self._balances: Table[int] = Table(journal)

    def post(self, transfer: Transfer) -> None:
        """Move credits, once."""
        posted = self._transfers.rows.get(transfer.id)
        if posted is not None:
            if posted != transfer:
                raise LedgerError(f"the transfer {transfer.id} was posted before, and was another")
            return
        for account, balance in moved(self._balances.rows, transfer).items():
            if balance:
                self._balances.put(account, balance)
            else:
                self._balances.drop(account)
        self._transfers.put(transfer.id, transfer)

    def balance(self, account: str) -> int:
        """Return the balance of a ledger account."""
        return self._balances.rows.get(account, 0)

    def balances(self) -> Mapping[str, int]:
        """Return every balance that is not zero."""
        return dict(self._balances.rows)

    def transfers(self) -> Sequence[Transfer]:
        """Return every movement, oldest first."""
        return list(self._transfers.rows.values())


class MemoryPool:
    """The leases of workers."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[Member] = Table(journal)

    def get(self, worker: str) -> Member | None:
        """Find a worker's lease, run out or not."""
        return self._table.rows.get(worker)

    def put(self, member: Member) -> None:
        """Add or replace a worker's lease."""
        self._table.put(member.worker, member)

    def remove(self, worker: str) -> None:
        """End a worker's lease, if it has one."""
        self._table.drop(worker)

    def alive(self, now: float) -> Sequence[Member]:
        """Return the leases that end after ``now``."""
        return [member for _, member in sorted(self._table.rows.items()) if member.expires_at > now]

    def purge(self, now: float) -> None:
        """Drop the leases that end at ``now`` or before."""
        for worker in [worker for worker, member in self._table.rows.items() if member.expires_at <= now]:
            self._table.drop(worker)


class MemoryTasks:
    """All tasks, and beside them those whose deadline is still to come, which most questions are about."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[Task] = Table(journal)
        self._running: Table[Task] = Table(journal)

    def add(self, task: Task) -> None:
        """Store a new task."""
        self.save(task)

    def save(self, task: Task) -> None:
        """Store a task as it is now."""
        self._table.put(task.id, task)
        if task.state in RUNNING:
            self._running.put(task.id, task)
        else:
            self._running.drop(task.id)

    def find(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist, in the order of their ids."""
        return [self._table.rows[task] for task in sorted(set(tasks)) if task in self._table.rows]

    def of_purchase(self, purchase: str) -> Sequence[Task]:
        """Return the tasks of a purchase, in the order of their ids."""
        return [task for _, task in sorted(self._table.rows.items()) if task.purchase == purchase]

    def due(self, now: float, *, limit: int) -> Sequence[Task]:
        """Return up to ``limit`` tasks whose deadline passed without having been applied."""
        return [task for task in self._running.rows.values() if task.is_due(now)][:limit]

    def busy(self) -> Mapping[str, int]:
        """Return, for each worker, its outstanding replicas of open tasks."""
        return Counter(
            replica.worker
            for task in self._running.rows.values()
            if task.state is TaskState.OPEN
            for replica in task.replicas
            if replica.outstanding
        )

    def holdings(self, foreman: str) -> Holdings:
        """Return what a foreman has under way."""
        held = [task.escrow for task in self._running.rows.values() if task.foreman == foreman and task.escrow > 0]
        return Holdings(tasks=len(held), credits=sum(held))

    def forget(self, now: float) -> None:
        """Drop the tasks to be forgotten whose deadline was applied."""
        for task in list(self._table.rows.values()):
            if task.forgotten_at <= now and task.state not in RUNNING:
                self._table.drop(task.id)


class MemoryPurchases:
    """The ids that foremen made."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[PurchaseRecord] = Table(journal)

    def get(self, purchase: str) -> PurchaseRecord | None:
        """Find a purchase."""
        return self._table.rows.get(purchase)

    def add(self, record: PurchaseRecord) -> None:
        """Store a new purchase."""
        self._table.put(record.id, record)

    def forget(self, now: float) -> None:
        """Drop the purchases to be forgotten that moved no credits."""
        for record in list(self._table.rows.values()):
            if record.forgotten_at <= now and record.price == 0:
                self._table.drop(record.id)


class MemoryStore:
    """Storage that lives as long as this object. Its ``unit_of_work`` is a UnitOfWorkFactory."""

    def __init__(self) -> None:
        self.journal: Journal = []
        self.turn = threading.Lock()
        self.accounts = MemoryAccounts(self.journal)
        self.ledger = MemoryLedger(self.journal)
        self.pool = MemoryPool(self.journal)
        self.tasks = MemoryTasks(self.journal)
        self.purchases = MemoryPurchases(self.journal)

    def unit_of_work(self) -> MemoryUnitOfWork:
        """Make a unit of work, to be entered once."""
        return MemoryUnitOfWork(self)


class MemoryUnitOfWork:
    """One transaction over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.accounts = store.accounts
        self.ledger = store.ledger
        self.pool = store.pool
        self.tasks = store.tasks
        self.purchases = store.purchases

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
