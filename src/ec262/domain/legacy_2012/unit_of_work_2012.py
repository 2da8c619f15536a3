"""The storage of the 2012 API: repositories inside a transaction. It shares nothing with ``/v1``'s.

Units of work exclude each other, those of other processes included: what one reads stays as it is until it ends. Every
method raises DiscoveryUnavailable when the storage does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Protocol, Self

from ec262.domain.legacy_2012.addresses_2012 import Endpoint
from ec262.domain.legacy_2012.clients_2012 import Client
from ec262.domain.legacy_2012.ledger_2012 import Entry, Totals
from ec262.domain.legacy_2012.tasks_2012 import Task


class ClientRepository2012(Protocol):
    """Who is known; nobody is ever forgotten."""

    def get(self, addr: str) -> Client | None:
        """Find a client."""
        ...

    def find(self, addrs: Collection[str]) -> Sequence[Client]:
        """Return those of the clients that are known, in the order of their addresses."""
        ...

    def add(self, client: Client) -> None:
        """Store a new client."""
        ...

    def save(self, clients: Collection[Client]) -> None:
        """Store known clients as they are now."""
        ...

    def pool(self, now: float) -> Sequence[Endpoint]:
        """Return where those are who are in the pool and whose lease ends after ``now``, in order of addresses."""
        ...

    def take(self, addrs: Collection[str]) -> None:
        """Take clients out of the pool; saving them ``registered`` anew is how they come back."""
        ...


class TaskRepository2012(Protocol):
    """Open tasks."""

    def get(self, task: str) -> Task | None:
        """Find a task."""
        ...

    def add(self, tasks: Collection[Task]) -> None:
        """Store new tasks, whose foreman and workers are known clients."""
        ...

    def remove(self, tasks: Collection[str]) -> None:
        """Drop tasks."""
        ...

    def due(self, now: float, *, limit: int) -> Sequence[Task]:
        """Return up to ``limit`` tasks that end by themselves at ``now`` or before, those due for longest first."""
        ...


class Ledger2012(Protocol):
    """The books, which are only ever added to."""

    def post(self, entries: Collection[Entry]) -> None:
        """Write lines. Raises LedgerError if one of them was written before."""
        ...

    def history(self, addr: str) -> Sequence[Entry]:
        """Return a client's lines, oldest first."""
        ...

    def totals(self) -> Totals:
        """Return the sums over all clients, open tasks and grants."""
        ...

    def unbalanced(self) -> Sequence[str]:
        """Return the clients whose credits are not the sum of their lines, in order of their addresses: none, unless
        something is broken."""
        ...


class UnitOfWork2012(Protocol):
    """One transaction: what was not committed when the block ends is as if it had never been."""

    @property
    def clients(self) -> ClientRepository2012:
        """Who is known."""
        ...

    @property
    def tasks(self) -> TaskRepository2012:
        """Open tasks."""
        ...

    @property
    def ledger(self) -> Ledger2012:
        """The books."""
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
        """Make everything since the beginning durable at once. Nothing else may be asked of this unit of work after."""
        ...


UnitOfWork2012Factory = Callable[[], UnitOfWork2012]
