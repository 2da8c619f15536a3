"""The storage of the 2012 API: repositories inside a transaction. It shares nothing with that of ``/v1``.

Units of work exclude each other, also between processes: what one has read does not change until it ends. Every method
raises DiscoveryUnavailable if the storage does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Protocol, Self

from ec262.domain.legacy_2012.addresses_2012 import Endpoint2012
from ec262.domain.legacy_2012.clients_2012 import Client
from ec262.domain.legacy_2012.ledger_2012 import Entry, Totals
from ec262.domain.legacy_2012.tasks_2012 import Task2012


class ClientRepository2012(Protocol):
    """All known clients. None is ever deleted."""

    def get(self, addr: str) -> Client | None:
        """Return a client, or None if it is unknown."""
        ...

    def find(self, addrs: Collection[str]) -> Sequence[Client]:
        """Return the known clients among these, ordered by address."""
        ...

    def add(self, client: Client) -> None:
        """Store a new client."""
        ...

    def save(self, clients: Collection[Client]) -> None:
        """Update known clients."""
        ...

    def pool(self, now: float) -> Sequence[Endpoint2012]:
        """Return the clients in the pool whose lease ends after ``now``, ordered by address."""
        ...

    def take(self, addrs: Collection[str]) -> None:
        """Remove clients from the pool. They return when they are saved after a new registration."""
        ...


class TaskRepository2012(Protocol):
    """Open tasks."""

    def get(self, task: str) -> Task2012 | None:
        """Return a task, or None if it is not open."""
        ...

    def add(self, tasks: Collection[Task2012]) -> None:
        """Store new tasks, whose foreman and workers are known clients."""
        ...

    def remove(self, tasks: Collection[str]) -> None:
        """Delete tasks."""
        ...

    def due(self, now: float, *, limit: int) -> Sequence[Task2012]:
        """Return up to ``limit`` tasks that end by themselves at or before ``now``, the oldest first."""
        ...


class Ledger2012(Protocol):
    """The ledger. Entries are only added, never changed."""

    def post(self, entries: Collection[Entry]) -> None:
        """Add entries. Raises LedgerError if one of them already exists."""
        ...

    def history(self, addr: str) -> Sequence[Entry]:
        """Return a client's entries, oldest first."""
        ...

    def totals(self) -> Totals:
        """Return the sums over all clients, open tasks and grants."""
        ...

    def unbalanced(self) -> Sequence[str]:
        """Return the clients whose credits differ from the sum of their entries, ordered by address. There are none
        unless something is broken."""
        ...


class UnitOfWork2012(Protocol):
    """One transaction. Changes that were not committed when the block ends are rolled back."""

    @property
    def clients(self) -> ClientRepository2012:
        """All known clients."""
        ...

    @property
    def tasks(self) -> TaskRepository2012:
        """Open tasks."""
        ...

    @property
    def ledger(self) -> Ledger2012:
        """The ledger."""
        ...

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and roll back what was not committed."""
        ...

    def commit(self) -> None:
        """Commit all changes at once. The unit of work must not be used afterwards."""
        ...


UnitOfWork2012Factory = Callable[[], UnitOfWork2012]
