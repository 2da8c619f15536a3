"""Units of work of the discovery service: every deadline applied, the caller known, decisions told to who waits."""

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
"""Most deadlines applied in one go: others wait for it."""

REVOKED = "this token has been revoked"

OnDecided = Callable[[Collection[str]], None]
"""Is told the ids of tasks for whose verdict nobody need wait any longer; may be called by any thread."""


class Transaction:
    """One unit of work, and the time at which it is."""

    def __init__(self, uow: UnitOfWork, now: float, on_decided: OnDecided) -> None:
        self.uow = uow
        self.now = now
        self._on_decided = on_decided
        self._decided: list[str] = []

    def account(self, token: str) -> Account:
        """Return whose token it is. Raises NotAuthenticated."""
        digest = token_digest(token)
        account = self.uow.accounts.by_token(digest)
        if account is None:
            revoked = self.uow.accounts.is_revoked(digest)
            raise NotAuthenticated(REVOKED if revoked else "no account has this token: open an account first")
        return account

    def active(self, token: str) -> Account:
        """Return whose token it is, if that account may do more than look. Raises NotAuthenticated, AccountFrozen."""
        account = self.account(token)
        account.check_active()
        return account

    def locked(self, token: str) -> Account:
        """Return the same, and let nobody else change the account. Raises NotAuthenticated, AccountFrozen."""
        self.uow.accounts.lock(self.account(token).id)
        return self.active(token)  # somebody may have changed it just before

    def store(self, changed: Collection[Task], transfers: Iterable[Transfer]) -> None:
        """Store tasks as they are now, and post the movements of credits that belong to it."""
        self.uow.tasks.save(changed)
        self.uow.ledger.post(transfers)
        self._decided += [task.id for task in changed if task.decided]

    def commit(self) -> None:
        """Make it durable, and then known to who waits for it."""
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
        """Begin a transaction in which every deadline up to now was applied, durably: an answer that was given once
        stays true, even if the clock is set back, and never depends on whether a sweep has run."""
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
    """Locked tasks as they become, one item after the other; what is refused of one leaves the others alone."""

    _before: dict[str, Task]
    _tasks: dict[str, Task]
    _transfers: list[Transfer] = attrs.Factory(list)
    _changed: set[str] = attrs.Factory(set)
    refused: list[TaskRefusal] = attrs.Factory(list)

    @classmethod
    def lock(cls, transaction: Transaction, ids: Iterable[str]) -> Batch:
        """Lock those of the tasks that exist."""
        locked = {task.id: task for task in transaction.uow.tasks.locked(set(ids))}
        return cls(locked, dict(locked))

    @property
    def locked(self) -> Collection[Task]:
        """The tasks as they were at first."""
        return self._before.values()

    def apply(self, task: str, change: Callable[[Task], tuple[Task, Sequence[Transfer]]]) -> Task | None:
        """Change a task; return it as it is then, or None if that was refused."""
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
        """Store what has changed, and commit."""
        if self._changed:
            changed = sorted(self._changed)
            transaction.store([self._tasks[task] for task in changed], self._transfers)
            learn(transaction.uow, [(self._before[task], self._tasks[task]) for task in changed], transaction.now)
            transaction.commit()
