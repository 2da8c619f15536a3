"""The discovery service without a network: a client that calls the use cases in its own process."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ec262.domain.protocol.account_calls import AccountStatus, History, HistoryQuery, OpenAccount, ReplaceToken
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

LOOK_S = 0.01
"""Pause between two looks at tasks that are waited for."""


class MemoryAccountDiscovery(Protocol):
    """What the service does for who holds an account."""

    def open(self, token: str, command: OpenAccount) -> AccountStatus: ...
    def status(self, token: str) -> AccountStatus: ...
    def history(self, token: str, query: HistoryQuery) -> History: ...
    def replace_token(self, token: str, command: ReplaceToken) -> None: ...
    def close(self, token: str) -> None: ...


class Foremen(Protocol):
    """What the service does for foremen."""

    def pool(self, token: str, query: PoolQuery) -> PoolStatus: ...
    def buy(self, token: str, command: BuyTasks) -> Purchase: ...
    def add_replicas(self, token: str, command: AddReplicas) -> Purchase: ...
    def verdicts(self, token: str, query: VerdictQuery) -> Verdicts: ...
    def accept(self, token: str, command: AcceptResults) -> Verdicts: ...
    def dispute(self, token: str, command: BuyDisputes) -> Verdicts: ...
    def report(self, token: str, command: DeliveryReports) -> None: ...


class Workers(Protocol):
    """What the service does for workers."""

    def register(self, token: str, command: RegisterWorker, *, source: str) -> Lease: ...
    def leave(self, token: str) -> None: ...
    def assignments(self, token: str, query: AssignmentQuery) -> Assignments: ...
    def commit(self, token: str, command: CommitResults) -> CommitmentsTaken: ...
    def give_up(self, token: str, command: GiveUp) -> GivenUp: ...


class Service(Protocol):
    """The discovery service, by who asks."""

    @property
    def accounts(self) -> MemoryAccountDiscovery: ...
    @property
    def foremen(self) -> Foremen: ...
    @property
    def workers(self) -> Workers: ...


class MemoryDiscovery:
    """The discovery ports over a service object; clients with different tokens may share it.

    ``source`` is the address that the service takes the client to call from.
    """

    def __init__(self, service: Service, *, token: str, source: str = "127.0.0.1") -> None:
        self._service = service
        self._token = token
        self._source = source

    # --- accounts ---------------------------------------------------------------------------------------------------

    async def open_account(self, invitation: str | None = None) -> AccountStatus:
        """Open the account of this client's token, or find it again."""
        return self._service.accounts.open(self._token, OpenAccount(invitation=invitation))

    async def account(self) -> AccountStatus:
        """Tell how the account stands."""
        return self._service.accounts.status(self._token)

    async def history(self, query: HistoryQuery) -> History:
        """Tell the account's movements."""
        return self._service.accounts.history(self._token, query)

    async def replace_token(self, token: str) -> None:
        """Let another token open the account, and this client's no more."""
        self._service.accounts.replace_token(self._token, ReplaceToken(token=token))

    async def close_account(self) -> None:
        """Revoke this client's token."""
        self._service.accounts.close(self._token)

    # --- foremen ----------------------------------------------------------------------------------------------------

    async def pool(self, query: PoolQuery) -> PoolStatus:
        """Tell who could be drawn now."""
        return self._service.foremen.pool(self._token, query)

    async def buy(self, command: BuyTasks) -> Purchase:
        """Buy tasks."""
        return self._service.foremen.buy(self._token, command)

    async def add_replicas(self, command: AddReplicas) -> Purchase:
        """Add workers to open tasks."""
        return self._service.foremen.add_replicas(self._token, command)

    async def verdicts(self, query: VerdictQuery) -> Verdicts:
        """Tell the state of tasks that this account bought, when one is decided or ``wait_s`` are over."""
        waited_s = 0.0
        while True:
            reply = self._service.foremen.verdicts(self._token, query)
            if waited_s >= query.wait_s or query.has_news(reply):
                return reply
            await asyncio.sleep(LOOK_S)
            waited_s += LOOK_S

    async def accept(self, command: AcceptResults) -> Verdicts:
        """Let provisional wins be wins."""
        return self._service.foremen.accept(self._token, command)

    async def dispute(self, command: BuyDisputes) -> Verdicts:
        """Pay all who committed to tasks that none won."""
        return self._service.foremen.dispute(self._token, command)

    async def report(self, command: DeliveryReports) -> None:
        """Tell of winners that did not deliver."""
        self._service.foremen.report(self._token, command)

    # --- workers ----------------------------------------------------------------------------------------------------

    async def register(self, command: RegisterWorker) -> Lease:
        """Join the pool or renew the lease."""
        return self._service.workers.register(self._token, command, source=self._source)

    async def leave(self) -> None:
        """Leave the pool."""
        self._service.workers.leave(self._token)

    async def assignments(self, query: AssignmentQuery) -> Assignments:
        """Tell the replicas assigned to this worker."""
        return self._service.workers.assignments(self._token, query)

    async def commit(self, command: CommitResults) -> CommitmentsTaken:
        """Commit results."""
        return self._service.workers.commit(self._token, command)

    async def give_up(self, command: GiveUp) -> GivenUp:
        """Tell that no results will be committed."""
        return self._service.workers.give_up(self._token, command)

    async def close(self) -> None:
        """Nothing to close; as on the client over HTTP."""
