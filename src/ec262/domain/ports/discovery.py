"""The discovery service as its two kinds of client see it. Every method raises DiscoveryUnavailable when there is no
answer, and the subclass of DiscoveryRefused that says why when the answer is no. Repeating a call is always safe."""

from __future__ import annotations

from typing import Protocol

from ec262.domain.commands import (
    AccountStatus,
    Assignment,
    BuyTasks,
    CommitResult,
    Lease,
    PoolQuery,
    PoolStatus,
    Purchase,
    RegisterWorker,
    VerdictQuery,
    Verdicts,
)


class Accounts(Protocol):
    """What both kinds of client need."""

    async def open_account(self) -> AccountStatus:
        """Open the account of this client's token, or find it again."""
        ...


class ForemanDiscovery(Accounts, Protocol):
    """What a foreman asks."""

    async def pool(self, query: PoolQuery) -> PoolStatus:
        """Tell who could be drawn now."""
        ...

    async def buy(self, command: BuyTasks) -> Purchase:
        """Buy tasks. Raises PurchaseTooExpensive, PurchaseConflict, LimitReached."""
        ...

    async def verdicts(self, query: VerdictQuery) -> Verdicts:
        """Tell the state of tasks that this account bought; what it did not buy is left out."""
        ...


class WorkerDiscovery(Accounts, Protocol):
    """What a worker asks."""

    async def register(self, command: RegisterWorker) -> Lease:
        """Join the pool or renew the lease. Raises AddressUnreachable."""
        ...

    async def leave(self) -> None:
        """Leave the pool; fine also for who is not in it."""
        ...

    async def assignment(self, task: str) -> Assignment:
        """Tell a replica assigned to this worker. Raises UnknownTask, TaskClosed."""
        ...

    async def commit(self, command: CommitResult) -> None:
        """Commit a result. Raises UnknownTask, CommitmentConflict, TaskClosed."""
        ...

    async def give_up(self, task: str) -> None:
        """Tell that no result will be committed, so that the slot is free. Raises UnknownTask, TaskClosed."""
        ...
