"""The discovery service as its clients see it. Every method raises DiscoveryUnavailable if there is no reply, and a
subclass of DiscoveryRefused that names the reason if the call is refused. Repeating a call is always safe."""

from __future__ import annotations

from typing import Protocol

from ec262.domain.protocol.account_calls import AccountStatus, History, HistoryQuery
from ec262.domain.protocol.foreman_calls import (
    AcceptResults,
    AddReplicas,
    BuyDisputes,
    BuyTasks,
    DeliveryReports,
    PoolQuery,
    PoolStatus,
    Purchase,
    VerdictQuery,
    Verdicts,
)
from ec262.domain.protocol.worker_calls import (
    AssignmentQuery,
    Assignments,
    CommitmentsTaken,
    CommitResults,
    GivenUp,
    GiveUp,
    Lease,
    RegisterWorker,
)


class Accounts(Protocol):
    """What every kind of client needs."""

    async def open_account(self, invitation: str | None = None) -> AccountStatus:
        """Open the account of this client's token, or return it if it exists. An invitation adds credits, once per
        account. Raises InvitationRefused."""
        ...


class AccountDiscovery(Accounts, Protocol):
    """Calls of an account's holder."""

    async def account(self) -> AccountStatus:
        """Return the account and its balance. Raises NotAuthenticated if the token opens no account."""
        ...

    async def history(self, query: HistoryQuery) -> History:
        """Return the account's transfers."""
        ...

    async def replace_token(self, token: str) -> None:
        """Replace this client's token with another one."""
        ...

    async def close_account(self) -> None:
        """Revoke this client's token, so that the account can no longer be opened."""
        ...


class ForemanDiscovery(Accounts, Protocol):
    """Calls of a foreman."""

    async def pool(self, query: PoolQuery) -> PoolStatus:
        """Return how many workers could be drawn now."""
        ...

    async def buy(self, command: BuyTasks) -> Purchase:
        """Buy tasks. Raises PurchaseTooExpensive, PurchaseConflict, LimitReached."""
        ...

    async def add_replicas(self, command: AddReplicas) -> Purchase:
        """Add workers to open tasks. Raises PurchaseTooExpensive, PurchaseConflict, LimitReached."""
        ...

    async def verdicts(self, query: VerdictQuery) -> Verdicts:
        """Return the verdicts of tasks that this account bought; other tasks are left out. Returns when one of them is
        decided, or after ``wait_s``."""
        ...

    async def accept(self, command: AcceptResults) -> Verdicts:
        """Turn provisional wins into wins, and return the verdicts. Tasks whose worker was caught lying are
        reopened."""
        ...

    async def dispute(self, command: BuyDisputes) -> Verdicts:
        """Pay all workers that committed to tasks without a win, and return the verdicts. Tasks that cannot be disputed
        stay open."""
        ...

    async def report(self, command: DeliveryReports) -> None:
        """Report winners that did not deliver."""
        ...


class WorkerDiscovery(Accounts, Protocol):
    """Calls of a worker."""

    async def register(self, command: RegisterWorker) -> Lease:
        """Join the pool or renew the lease. Raises AddressUnreachable."""
        ...

    async def leave(self) -> None:
        """Leave the pool. A worker that is not in it may also call this."""
        ...

    async def assignments(self, query: AssignmentQuery) -> Assignments:
        """Return this worker's assignments. Items may be refused with UnknownTask or TaskClosed."""
        ...

    async def commit(self, command: CommitResults) -> CommitmentsTaken:
        """Commit results. Items may be refused with UnknownTask, CommitmentConflict or TaskClosed."""
        ...

    async def give_up(self, command: GiveUp) -> GivenUp:
        """Surrender tasks, which frees their slots. Items may be refused with UnknownTask or TaskClosed."""
        ...
