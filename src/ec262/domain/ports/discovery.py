"""The discovery service as its clients see it. Every method raises DiscoveryUnavailable when there is no answer, and
the subclass of DiscoveryRefused that says why when the answer is no. Repeating a call is always safe."""

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
    CommitResults,
    Committed,
    GivenUp,
    GiveUp,
    Lease,
    RegisterWorker,
)


class Accounts(Protocol):
    """What every kind of client needs."""

    async def open_account(self, invitation: str | None = None) -> AccountStatus:
        """Open the account of this client's token, or find it again; an invitation brings credits, once. Raises
        InvitationRefused."""
        ...


class AccountDiscovery(Accounts, Protocol):
    """What the holder of an account asks."""

    async def account(self) -> AccountStatus:
        """Tell how the account stands. Raises NotAuthenticated if there is none."""
        ...

    async def history(self, query: HistoryQuery) -> History:
        """Tell the account's movements."""
        ...

    async def replace_token(self, token: str) -> None:
        """Let another token open the account, and this client's no more."""
        ...

    async def close_account(self) -> None:
        """Revoke this client's token: nothing opens the account any more."""
        ...


class ForemanDiscovery(Accounts, Protocol):
    """What a foreman asks."""

    async def pool(self, query: PoolQuery) -> PoolStatus:
        """Tell who could be drawn now."""
        ...

    async def buy(self, command: BuyTasks) -> Purchase:
        """Buy tasks. Raises PurchaseTooExpensive, PurchaseConflict, LimitReached."""
        ...

    async def add_replicas(self, command: AddReplicas) -> Purchase:
        """Add workers to open tasks. Raises PurchaseTooExpensive, PurchaseConflict, LimitReached."""
        ...

    async def verdicts(self, query: VerdictQuery) -> Verdicts:
        """Tell the state of tasks that this account bought; what it did not buy is left out. Returns when one of them
        is decided, or ``wait_s`` are over."""
        ...

    async def accept(self, command: AcceptResults) -> Verdicts:
        """Let provisional wins be wins; tell the tasks' state. Those whose worker was caught are open again."""
        ...

    async def dispute(self, command: BuyDisputes) -> Verdicts:
        """Pay all who committed to tasks that none won; tell the tasks' state. What cannot be disputed stays open."""
        ...

    async def report(self, command: DeliveryReports) -> None:
        """Tell of winners that did not deliver."""
        ...


class WorkerDiscovery(Accounts, Protocol):
    """What a worker asks."""

    async def register(self, command: RegisterWorker) -> Lease:
        """Join the pool or renew the lease. Raises AddressUnreachable."""
        ...

    async def leave(self) -> None:
        """Leave the pool; fine also for who is not in it."""
        ...

    async def assignments(self, query: AssignmentQuery) -> Assignments:
        """Tell the replicas assigned to this worker. Refused one by one: UnknownTask, TaskClosed."""
        ...

    async def commit(self, command: CommitResults) -> Committed:
        """Commit results. Refused one by one: UnknownTask, CommitmentConflict, TaskClosed."""
        ...

    async def give_up(self, command: GiveUp) -> GivenUp:
        """Tell that no results will be committed, so that slots are free. Refused one by one: UnknownTask,
        TaskClosed."""
        ...
