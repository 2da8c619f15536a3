"""The storage of discovery: repositories inside a transaction.

Units of work may run concurrently, in several processes. What one has locked or changed, no other can lock or change
until it ends; data that was only read may be outdated. Locks are taken in a fixed order, to avoid deadlocks: the pool,
then tasks (by id), then reputations (by worker), then everything else. Every method raises DiscoveryUnavailable when
the storage does not respond, or when two units of work conflicted; it is then safe to repeat the whole unit of work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

import attrs

from ec262.domain.discovery.accounts import Account, Invitation
from ec262.domain.discovery.folding import Fold, Posting
from ec262.domain.discovery.ledger import Transfer
from ec262.domain.discovery.pool.pool import Member
from ec262.domain.discovery.purchases import PurchaseRecord
from ec262.domain.discovery.reputation import Reputation
from ec262.domain.discovery.tasks import Task
from ec262.domain.work.runtime import RuntimeClass


@attrs.frozen(kw_only=True)
class Holdings:
    """The number of a foreman's tasks whose escrow still holds credits, and the sum of these credits."""

    tasks: int
    credits: int


class AccountRepository(Protocol):
    """Accounts and the tokens that open them."""

    def by_token(self, token_digest: bytes) -> Account | None:
        """Find the account that a token opens."""
        ...

    def get(self, account: str) -> Account | None:
        """Find an account by its id."""
        ...

    def lock(self, account: str) -> None:
        """Lock the account until this unit of work ends. What was read of it before may be outdated."""
        ...

    def is_revoked(self, token_digest: bytes) -> bool:
        """Tell whether a token once opened an account but no longer does."""
        ...

    def add(self, account: Account, token_digest: bytes) -> None:
        """Store a new account and the token that opens it."""
        ...

    def save(self, account: Account) -> None:
        """Update an account; only ``owner`` and ``frozen`` may have changed."""
        ...

    def revoke(self, account: str) -> None:
        """Revoke all tokens of an account; they remain known as revoked."""
        ...

    def add_token(self, account: str, token_digest: bytes) -> None:
        """Add a token to an existing account."""
        ...

    def page(self, *, after: str, limit: int) -> Sequence[Account]:
        """Return up to ``limit`` accounts whose ids come after ``after``, in the order of their ids."""
        ...


class InvitationRepository(Protocol):
    """Codes that bring credits."""

    def locked(self, code_digest: bytes) -> Invitation | None:
        """Find and lock an invitation by its code's digest."""
        ...

    def add(self, invitation: Invitation) -> None:
        """Store a new invitation."""
        ...

    def save(self, invitation: Invitation) -> None:
        """Update an invitation; only ``uses_left`` may have changed."""
        ...

    def all(self) -> Sequence[Invitation]:
        """Return every invitation, in the order of their ids."""
        ...


class ReportRepository(Protocol):
    """Reports by foremen that a worker won and did not deliver."""

    def add(self, *, worker: str, foreman: str, at: float) -> None:
        """Store a report; a second one by the same foreman about the same worker changes nothing."""
        ...

    def count(self, worker: str) -> int:
        """Return how many foremen have reported a worker."""
        ...


class ReputationRepository(Protocol):
    """The reputations of workers."""

    def find(self, workers: Collection[str], foremen: Collection[str]) -> Sequence[Reputation]:
        """Return all reputations of these workers: the general records and these foremen's own, for every runtime
        class."""
        ...

    def locked(self, known: Collection[tuple[str, RuntimeClass]], foremen: Collection[str]) -> Sequence[Reputation]:
        """Lock and return the reputations for pairs of worker and runtime class; pairs without a reputation are locked,
        too. To be called once in a unit of work, for everything that it will save."""
        ...

    def save(self, reputations: Collection[Reputation]) -> None:
        """Store locked or new reputations."""
        ...

    def caught_since(self, at: float, foremen: Collection[str]) -> Sequence[Reputation]:
        """Return the reputations of workers that were caught lying at this time or later, from the general record and
        from these foremen's own records."""
        ...

    def alarms(self, foremen: Collection[str], since: float) -> Mapping[str, float]:
        """Return the time (Unix seconds) of the last alarm of each of these foremen, if it was at ``since`` or
        later."""
        ...

    def forget(self, before: float) -> None:
        """Drop reputations that last changed at this time (Unix seconds) or earlier, a limited number in each call."""
        ...


class AnchorRepository(Protocol):
    """The workers that the operator vouches for."""

    def all(self) -> Collection[str]:
        """Return every anchor."""
        ...

    def add(self, worker: str) -> None:
        """Make the worker of an existing account an anchor; if it already is one, nothing changes."""
        ...

    def remove(self, worker: str) -> None:
        """Remove a worker from the anchors; if it is not one, nothing changes."""
        ...


class Ledger(Protocol):
    """The books: see ``ec262.domain.discovery.ledger`` for the rules that every adapter applies."""

    def post(self, transfers: Iterable[Transfer]) -> None:
        """Move credits; a repeated transfer moves nothing. Raises LedgerError, either here or at the commit, if an id
        belongs to another transfer, or if an account would be overdrawn after all transfers."""
        ...

    def balance(self, account: str) -> int:
        """Return the balance of a ledger account, including all posted transfers; an unused account has zero."""
        ...

    def locked_balance(self, account: str) -> int:
        """Lock a ledger account, and return its balance."""
        ...

    def balances(self) -> Mapping[str, int]:
        """Return every balance that is not zero."""
        ...

    def has_earned(self, account: str) -> bool:
        """Tell whether a ledger account was ever paid for work. The search is limited: it may miss the work of an
        account that bought many tasks before."""
        ...

    def together(self, prefix: str) -> tuple[int, int]:
        """Return how many accounts with this prefix have credits, and the sum of these credits. The time is
        proportional to the number of those accounts, not of all accounts."""
        ...

    def transfers(self) -> Sequence[Transfer]:
        """Return every stored transfer, oldest first."""
        ...

    def statement(self, account: str, *, before: int | None, limit: int) -> Sequence[Posting]:
        """Return up to ``limit`` postings of a ledger account, newest first, including folds; if ``before`` is given,
        only those before this position."""
        ...

    def oldest(self, *, after: int, limit: int) -> Sequence[tuple[int, Transfer]]:
        """Return up to ``limit`` transfers after a position, oldest first, with their positions."""
        ...

    def fold(self, *, after: int, upto: int) -> None:
        """Fold the transfers after one position, up to and including another: see ``ec262.domain.discovery.folding``.
        Grants stay as they are. Repeating the call is safe. The very last transfer must not be among them, because new
        ones get their positions after it."""
        ...

    def folds(self) -> Sequence[Fold]:
        """Return the folds of transfers that are no longer stored."""
        ...


class PoolRepository(Protocol):
    """The leases of workers."""

    def lock(self) -> None:
        """Prevent others from drawing workers until this unit of work ends."""
        ...

    def get(self, worker: str) -> Member | None:
        """Find a worker's lease, expired or not."""
        ...

    def find(self, workers: Collection[str]) -> Sequence[Member]:
        """Return the leases of these workers, expired or not."""
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

    def beginners(self, now: float) -> Sequence[Member]:
        """Return the leases of beginners that end after ``now``."""
        ...

    def purge(self, now: float) -> None:
        """Drop the leases that end at or before ``now``."""
        ...


Process = tuple[str, str]
"""A worker's id, and the fingerprint of the certificate of its process: tasks that were assigned to an earlier process
of the worker will never be committed."""


class TaskRepository(Protocol):
    """Tasks with their replicas."""

    def add(self, tasks: Collection[Task]) -> None:
        """Store new tasks."""
        ...

    def save(self, tasks: Collection[Task]) -> None:
        """Update locked tasks: state, key, digest, times and ``steered`` may have changed; replicas may be new, or
        changed in digest, arrival, payment, ``fetched`` and ``given_up``."""
        ...

    def find(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that are stored, in the order of their ids."""
        ...

    def locked(self, tasks: Collection[str]) -> Sequence[Task]:
        """Lock and return those of the tasks that are stored, in the order of their ids."""
        ...

    def of_purchase(self, purchase: str) -> Sequence[Task]:
        """Return the stored tasks with replicas of a purchase, in the order of their ids."""
        ...

    def due(self, now: float, *, limit: int) -> Sequence[Task]:
        """Lock and return up to ``limit`` tasks whose deadline has passed but was not applied. Tasks that another unit
        of work has locked may be missing: it applies their deadlines itself."""
        ...

    def busy(self, now: float) -> Mapping[Process, int]:
        """Return, for each process, how many replicas of open tasks take its slots (``takes_slot``). Processes without
        any are left out."""
        ...

    def late(self) -> Mapping[Process, int]:
        """Return, for each process, how many replicas it may still be computing (``is_late``): their tasks are decided,
        but the deadlines are not applied yet. Processes without any are left out."""
        ...

    def holdings(self, foreman: str) -> Holdings:
        """Return what a foreman has under way."""
        ...

    def forget(self, now: float) -> None:
        """Drop the tasks whose deadline was applied and whose ``forgotten_at`` is at or before ``now``."""
        ...


class PurchaseRepository(Protocol):
    """The records of purchases."""

    def get(self, purchase: str) -> PurchaseRecord | None:
        """Find a purchase."""
        ...

    def add(self, record: PurchaseRecord) -> None:
        """Store a new purchase."""
        ...

    def forget(self, now: float) -> None:
        """Drop the purchases that moved no credits and whose ``forgotten_at`` is at or before ``now``."""
        ...


class UnitOfWork(Protocol):
    """One transaction: changes that are not committed when the block ends are undone."""

    @property
    def accounts(self) -> AccountRepository:
        """Accounts and their tokens."""
        ...

    @property
    def invitations(self) -> InvitationRepository:
        """Codes that bring credits."""
        ...

    @property
    def reports(self) -> ReportRepository:
        """Reports of winners that did not deliver."""
        ...

    @property
    def reputations(self) -> ReputationRepository:
        """The reputations of workers."""
        ...

    @property
    def anchors(self) -> AnchorRepository:
        """The workers that the operator vouches for."""
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
        """The records of purchases."""
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
        """Make everything since the beginning, or since the previous commit, durable in one step."""
        ...


UnitOfWorkFactory = Callable[[], UnitOfWork]
