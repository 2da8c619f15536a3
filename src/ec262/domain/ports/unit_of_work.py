"""The discovery service's storage: repositories inside a transaction.

Units of work exclude each other: what one reads stays as it is until it ends. Every method raises
DiscoveryUnavailable when the storage does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

import attrs

from ec262.domain.accounts import Account
from ec262.domain.ledger import Transfer
from ec262.domain.pool import Member
from ec262.domain.purchases import PurchaseRecord
from ec262.domain.tasks import Task


@attrs.frozen(kw_only=True)
class Holdings:
    """A foreman's tasks whose escrow still holds credits, and how many: what is wholly paid is no longer held."""

    tasks: int
    credits: int


class AccountRepository(Protocol):
    """Who is known."""

    def by_token(self, token_digest: bytes) -> Account | None:
        """Find the account that a token opens."""
        ...

    def add(self, account: Account) -> None:
        """Store a new account."""
        ...


class Ledger(Protocol):
    """The books: see ``ec262.domain.ledger`` for the rules that every adapter applies."""

    def post(self, transfer: Transfer) -> None:
        """Move credits; the same transfer again moves nothing. Raises LedgerError if the id stands for another
        transfer, or an account would be overdrawn."""
        ...

    def balance(self, account: str) -> int:
        """Return the balance of a ledger account; one that was never used has zero."""
        ...

    def balances(self) -> Mapping[str, int]:
        """Return every balance that is not zero."""
        ...

    def transfers(self) -> Sequence[Transfer]:
        """Return every movement, oldest first."""
        ...


class PoolRepository(Protocol):
    """The leases of workers."""

    def get(self, worker: str) -> Member | None:
        """Find a worker's lease, run out or not."""
        ...

    def put(self, member: Member) -> None:
        """Add or replace a worker's lease."""
        ...

    def remove(self, worker: str) -> None:
        """End a worker's lease, if it has one."""
        ...

    def alive(self, now: float) -> Sequence[Member]:
        """Return the leases that end after ``now``, in the order of their workers' ids."""
        ...

    def purge(self, now: float) -> None:
        """Drop the leases that end at ``now`` or before."""
        ...


class TaskRepository(Protocol):
    """Tasks with their replicas."""

    def add(self, task: Task) -> None:
        """Store a new task."""
        ...

    def save(self, task: Task) -> None:
        """Store a known task as it is now; only state, key, digests and payment ever change."""
        ...

    def find(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist, in the order of their ids."""
        ...

    def of_purchase(self, purchase: str) -> Sequence[Task]:
        """Return the tasks of a purchase that are not forgotten, in the order of their ids."""
        ...

    def due(self, now: float, *, limit: int) -> Sequence[Task]:
        """Return up to ``limit`` tasks whose deadline passed without having been applied."""
        ...

    def busy(self) -> Mapping[str, int]:
        """Return, for each worker, its outstanding replicas of open tasks."""
        ...

    def holdings(self, foreman: str) -> Holdings:
        """Return what a foreman has under way."""
        ...

    def forget(self, now: float) -> None:
        """Drop the tasks to be forgotten at ``now`` or before whose deadline was applied."""
        ...


class PurchaseRepository(Protocol):
    """The ids that foremen made."""

    def get(self, purchase: str) -> PurchaseRecord | None:
        """Find a purchase."""
        ...

    def add(self, record: PurchaseRecord) -> None:
        """Store a new purchase."""
        ...

    def forget(self, now: float) -> None:
        """Drop the purchases to be forgotten at ``now`` or before that moved no credits."""
        ...


class UnitOfWork(Protocol):
    """One transaction: what was not committed when the block ends is as if it had never been."""

    @property
    def accounts(self) -> AccountRepository:
        """Who is known."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The books."""
        ...

    @property
    def pool(self) -> PoolRepository:
        """The leases of workers."""
        ...

    @property
    def tasks(self) -> TaskRepository:
        """Tasks with their replicas."""
        ...

    @property
    def purchases(self) -> PurchaseRepository:
        """The ids that foremen made."""
        ...

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; undo what was not committed."""
        ...

    def commit(self) -> None:
        """Make everything since the beginning, or since the commit before, durable at once."""
        ...


UnitOfWorkFactory = Callable[[], UnitOfWork]
