"""Transactions of the discovery service: all deadlines applied, the caller identified, decisions announced to
waiters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

import attrs

from ec262.domain.discovery import tasks
from ec262.domain.discovery.accounts import Account
from ec262.domain.discovery.ledger import Transfer
from ec262.domain.discovery.tasks import Task
from ec262.domain.discovery.unit_of_work import UnitOfWork, UnitOfWorkFactory
from ec262.domain.errors import DiscoveryRefused, NotAuthenticated
from ec262.domain.ports.clock import Clock
from ec262.domain.protocol.token import token_digest
from ec262.domain.protocol.worker_calls import TaskRefusal
from ec262.services.discovery.reputations import doubtful, learn

EXPIRY_BATCH = 200
"""The most deadlines that are applied in one transaction: others wait for it."""

REVOKED = "this token has been revoked"

OnDecided = Callable[[Collection[str]], None]
"""Receives the ids of tasks whose verdict need no longer be waited for; any thread may call it."""


class Transaction:
    """One unit of work, and its time."""

    def __init__(self, uow: UnitOfWork, now: float, on_decided: OnDecided) -> None:
        self.uow = uow
        self.now = now
        self._on_decided = on_decided
        self._decided: list[str] = []

    def account(self, token: str) -> Account:
        """Return the account of a token. Raises NotAuthenticated."""
        digest = token_digest(token)
        account = self.uow.accounts.by_token(digest)
        if account is None:
            revoked = self.uow.accounts.is_revoked(digest)
            raise NotAuthenticated(REVOKED if revoked else "no account has this token: open an account first")
        return account

    def active(self, token: str) -> Account:
        """Return the account of a token if it may do more than read. Raises NotAuthenticated, AccountFrozen."""
        account = self.account(token)
        account.check_active()
        return account

    def locked(self, token: str) -> Account:
        """Like ``active``, and lock the account against other changes. Raises NotAuthenticated, AccountFrozen."""
        self.uow.accounts.lock(self.account(token).id)
        return self.active(token)  # it may have changed just before

    def store(self, changed: Collection[Task], transfers: Iterable[Transfer]) -> None:
        """Store changed tasks, and post the transfers that belong to the changes."""
        self.uow.tasks.save(changed)
        self.uow.ledger.post(transfers)
        self._decided += [task.id for task in changed if task.decided]

    def commit(self) -> None:
        """Make the changes durable, then announce decisions to those who wait."""
        self.uow.commit()
        decided, self._decided = self._decided, []
        if decided:
            self._on_decided(decided)


class Transactions:
    """Begins transactions."""

    def __init__(self, unit_of_work: UnitOfWorkFactory, clock: Clock, on_decided: OnDecided) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._on_decided = on_decided

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """Begin a transaction in which every deadline up to now has been applied durably. An answer once given
        therefore stays true, even if the clock is set back, and never depends on whether a sweep has run."""
        with self._unit_of_work() as uow:
            transaction = Transaction(uow, self._clock(), self._on_decided)
            while due := uow.tasks.due(transaction.now, limit=EXPIRY_BATCH):
                doubted = doubtful(uow, due)
                expired = [
                    tasks.expire(tasks.doubt(task) if task.id in doubted else task, now=transaction.now) for task in due
                ]
                transaction.store([task for task, _ in expired], [move for _, moves in expired for move in moves])
                learn(uow, zip(due, (task for task, _ in expired), strict=True), transaction.now)
                transaction.commit()
            yield transaction


@attrs.define
class Batch:
    """Locked tasks that are changed one at a time; a refused change does not affect the others."""

    _before: dict[str, Task]
    _tasks: dict[str, Task]
    _transfers: list[Transfer] = attrs.Factory(list)
    _changed: set[str] = attrs.Factory(set)
    refused: list[TaskRefusal] = attrs.Factory(list)

    @classmethod
    def lock(cls, transaction: Transaction, ids: Iterable[str]) -> Batch:
        """Lock the tasks that exist."""
        locked = {task.id: task for task in transaction.uow.tasks.locked(set(ids))}
        return cls(locked, dict(locked))

    @property
    def locked(self) -> Collection[Task]:
        """The tasks before any change."""
        return self._before.values()

    def apply(self, task: str, change: Callable[[Task], tuple[Task, Sequence[Transfer]]]) -> Task | None:
        """Change a task; return it afterwards, or None if the change was refused."""
        try:
            before = self._tasks.get(task)
            if before is None:
                raise tasks.unknown_task(task)
            after, transfers = change(before)
        except DiscoveryRefused as error:
            self.refused.append(TaskRefusal(task=task, error=error.code, message=str(error)))
            return None
        if after is not before:
            self._tasks[task] = after
            self._changed.add(task)
        self._transfers += transfers
        return after

    def store(self, transaction: Transaction) -> None:
        """Store the changes, and commit."""
        if self._changed:
            changed = sorted(self._changed)
            transaction.store([self._tasks[task] for task in changed], self._transfers)
            learn(transaction.uow, [(self._before[task], self._tasks[task]) for task in changed], transaction.now)
            transaction.commit()
