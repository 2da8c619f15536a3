"""The discovery service without a network: a client that calls the use cases in its own process."""

from __future__ import annotations

from typing import Protocol

from ec262.domain.commands import (
    AccountStatus,
    Assignment,
    BuyTasks,
    CommitResult,
    Committed,
    Lease,
    PoolQuery,
    PoolStatus,
    Purchase,
    RegisterWorker,
    VerdictQuery,
    Verdicts,
)


class UseCases(Protocol):
    """What the discovery service does for a caller with a token."""

    def open_account(self, token: str) -> AccountStatus: ...
    def register(self, token: str, command: RegisterWorker, *, source: str) -> Lease: ...
    def leave(self, token: str) -> None: ...
    def assignment(self, token: str, task: str) -> Assignment: ...
    def commit(self, token: str, command: CommitResult) -> Committed: ...
    def give_up(self, token: str, task: str) -> None: ...
    def pool(self, token: str, query: PoolQuery) -> PoolStatus: ...
    def buy(self, token: str, command: BuyTasks) -> Purchase: ...
    def verdicts(self, token: str, query: VerdictQuery) -> Verdicts: ...


class MemoryDiscovery:
    """The ForemanDiscovery and WorkerDiscovery ports over a service object; clients with different tokens may share it.

    ``source`` is the address that the service takes the client to call from.
    """

    def __init__(self, service: UseCases, *, token: str, source: str = "127.0.0.1") -> None:
        self._service = service
        self._token = token
        self._source = source

    async def open_account(self) -> AccountStatus:
        """Open the account of this client's token, or find it again."""
        return self._service.open_account(self._token)

    async def pool(self, query: PoolQuery) -> PoolStatus:
        """Tell who could be drawn now."""
        return self._service.pool(self._token, query)

    async def buy(self, command: BuyTasks) -> Purchase:
        """Buy tasks."""
        return self._service.buy(self._token, command)

    async def verdicts(self, query: VerdictQuery) -> Verdicts:
        """Tell the state of tasks that this account bought."""
        return self._service.verdicts(self._token, query)

    async def register(self, command: RegisterWorker) -> Lease:
        """Join the pool or renew the lease."""
        return self._service.register(self._token, command, source=self._source)

    async def leave(self) -> None:
        """Leave the pool."""
        self._service.leave(self._token)

    async def assignment(self, task: str) -> Assignment:
        """Tell a replica assigned to this worker."""
        return self._service.assignment(self._token, task)

    async def commit(self, command: CommitResult) -> None:
        """Commit a result."""
        self._service.commit(self._token, command)

    async def give_up(self, task: str) -> None:
        """Tell that no result will be committed."""
        self._service.give_up(self._token, task)

    async def close(self) -> None:
        """Nothing to close; as on the client over HTTP."""
