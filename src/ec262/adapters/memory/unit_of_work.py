"""The discovery service's storage in memory: dictionaries, a lock, and a journal of what to undo."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Generic, Self, TypeVar

from ec262.domain.accounts import Account, Invitation
from ec262.domain.commands import TaskState
from ec262.domain.errors import LedgerError
from ec262.domain.ledger import Posting, Transfer, change, moved
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
    """Accounts, and which of them each token opens; an empty name stands for none any more."""

    def __init__(self, journal: Journal) -> None:
        self._accounts: Table[Account] = Table(journal)
        self._tokens: Table[str] = Table(journal)

    def by_token(self, token_digest: bytes) -> Account | None:
        """Find the account that a token opens."""
        return self.get(self._tokens.rows.get(token_digest.hex(), ""))

    def get(self, account: str) -> Account | None:
        """Find an account by its id."""
        return self._accounts.rows.get(account)

    def is_revoked(self, token_digest: bytes) -> bool:
        """Tell whether a token once opened an account, and does not any more."""
        return self._tokens.rows.get(token_digest.hex()) == ""

    def add(self, account: Account, token_digest: bytes) -> None:
        """Store a new account and the token that opens it."""
        self.save(account)
        self.add_token(account.id, token_digest)

    def save(self, account: Account) -> None:
        """Store an account as it is now."""
        self._accounts.put(account.id, account)

    def revoke(self, account: str) -> None:
        """From now on no token that an account has opens it."""
        for digest in [digest for digest, opened in self._tokens.rows.items() if opened == account]:
            self._tokens.put(digest, "")

    def add_token(self, account: str, token_digest: bytes) -> None:
        """Let one more token open a known account."""
        self._tokens.put(token_digest.hex(), account)

    def page(self, *, after: str, limit: int) -> Sequence[Account]:
        """Return up to ``limit`` accounts whose ids come after ``after``, in the order of their ids."""
        return [account for key, account in sorted(self._accounts.rows.items()) if key > after][:limit]


class MemoryInvitations:
    """Invitations by the digest of their code."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[Invitation] = Table(journal)

    def locked(self, code_digest: bytes) -> Invitation | None:
        """Find an invitation by its code's digest."""
        return self._table.rows.get(code_digest.hex())

    def add(self, invitation: Invitation) -> None:
        """Store a new invitation."""
        self.save(invitation)

    def save(self, invitation: Invitation) -> None:
        """Store an invitation as it is now."""
        self._table.put(invitation.code_digest.hex(), invitation)

    def all(self) -> Sequence[Invitation]:
        """Return every invitation, in the order of their ids."""
        return sorted(self._table.rows.values(), key=lambda invitation: invitation.id)


class MemoryReports:
    """Who reported whom."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[float] = Table(journal)

    def add(self, *, worker: str, foreman: str, at: float) -> None:
        """Note a report, once for each foreman and worker."""
        self._table.put(f"{worker}/{foreman}", self._table.rows.get(f"{worker}/{foreman}", at))

    def count(self, worker: str) -> int:
        """Return how many foremen have reported a worker."""
        return sum(pair.startswith(f"{worker}/") for pair in self._table.rows)


class MemoryLedger:
    """The books."""

    def __init__(self, journal: Journal) -> None:
        self._transfers: Table[Transfer] = Table(journal)
        self._balances: Table[int] = Table(journal)

    def post(self, transfers: Iterable[Transfer]) -> None:
        """Move credits, once."""
        for transfer in transfers:
            posted = self._transfers.rows.get(transfer.id)
            if posted is None:
                self._move(transfer)
            elif posted != transfer:
                raise LedgerError(f"the transfer {transfer.id} was posted before, and was another")

    def _move(self, transfer: Transfer) -> None:
        for account, balance in moved(self._balances.rows, transfer).items():
            if balance:
                self._balances.put(account, balance)
            else:
                self._balances.drop(account)
        self._transfers.put(transfer.id, transfer)

    def balance(self, account: str) -> int:
        """Return the balance of a ledger account."""
        return self._balances.rows.get(account, 0)

    def locked_balance(self, account: str) -> int:
        """Return the balance of a ledger account."""
        return self.balance(account)

    def balances(self) -> Mapping[str, int]:
        """Return every balance that is not zero."""
        return dict(self._balances.rows)

    def transfers(self) -> Sequence[Transfer]:
        """Return every movement, oldest first."""
        return list(self._transfers.rows.values())

    def statement(self, account: str, *, before: int | None, limit: int) -> Sequence[Posting]:
        """Return up to ``limit`` movements of a ledger account, newest first."""
        postings, balance = [], 0
        for position, transfer in enumerate(self._transfers.rows.values(), start=1):
            if account in {transfer.debit, transfer.credit}:
                balance += change(transfer, account)
                postings.append(
                    Posting(position=position, transfer=transfer, change=change(transfer, account), balance=balance)
                )
        return [posting for posting in reversed(postings) if before is None or posting.position < before][:limit]


class MemoryPool:
    """The leases of workers."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[Member] = Table(journal)

    def lock(self) -> None:
        """Nothing to do: units of work exclude each other here."""

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

    def add(self, tasks: Collection[Task]) -> None:
        """Store new tasks."""
        self.save(tasks)

    def save(self, tasks: Collection[Task]) -> None:
        """Store tasks as they are now."""
        for task in tasks:
            self._table.put(task.id, task)
            if task.state in RUNNING:
                self._running.put(task.id, task)
            else:
                self._running.drop(task.id)

    def find(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist, in the order of their ids."""
        return [self._table.rows[task] for task in sorted(set(tasks)) if task in self._table.rows]

    def locked(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist, in the order of their ids."""
        return self.find(tasks)

    def of_purchase(self, purchase: str) -> Sequence[Task]:
        """Return the tasks that have replicas of a purchase, in the order of their ids."""
        return [
            task
            for _, task in sorted(self._table.rows.items())
            if any(replica.purchase == purchase for replica in task.replicas)
        ]

    def due(self, now: float, *, limit: int) -> Sequence[Task]:
        """Return up to ``limit`` tasks whose deadline passed without having been applied."""
        return [task for task in self._running.rows.values() if task.is_due(now)][:limit]

    def busy(self, now: float) -> Mapping[str, int]:
        """Return, for each worker, how many replicas of open tasks take its slots."""
        return Counter(
            replica.worker
            for task in self._running.rows.values()
            if task.state is TaskState.OPEN
            for replica in task.replicas
            if replica.takes_slot(now)
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
        self.invitations = MemoryInvitations(self.journal)
        self.reports = MemoryReports(self.journal)
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
        self.invitations = store.invitations
        self.reports = store.reports
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
