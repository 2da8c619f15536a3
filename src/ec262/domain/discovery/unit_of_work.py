"""The discovery service's storage: repositories inside a transaction.

Units of work may run side by side, in several processes. What one has locked, or changed, nobody else locks or changes
until it ends; what was only read may be old. Locks are taken in one order, so that nobody waits in a circle: the pool,
then tasks (by id), then reputations (by worker), then whatever else. Every method raises DiscoveryUnavailable when the
storage does not answer, or two units of work stood in each other's way; to repeat the whole unit of work then is safe.
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
    """A foreman's tasks whose escrow still holds credits, and how many: what is wholly paid is no longer held."""

    tasks: int
    credits: int


class AccountRepository(Protocol):
    """Who is known, and by which tokens."""

    def by_token(self, token_digest: bytes) -> Account | None:
        """Find the account that a token opens."""
        ...

    def get(self, account: str) -> Account | None:
        """Find an account by its id."""
        ...

    def lock(self, account: str) -> None:
        """Let nobody else lock the account until this unit of work ends. What was read of it before may not be true any
        more."""
        ...

    def is_revoked(self, token_digest: bytes) -> bool:
        """Tell whether a token once opened an account, and does not any more."""
        ...

    def add(self, account: Account, token_digest: bytes) -> None:
        """Store a new account and the token that opens it."""
        ...

    def save(self, account: Account) -> None:
        """Store a known account as it is now; only owner and frozen ever change."""
        ...

    def revoke(self, account: str) -> None:
        """From now on no token that an account has opens it; they stay known as revoked."""
        ...

    def add_token(self, account: str, token_digest: bytes) -> None:
        """Let one more token open a known account."""
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
        """Store a known invitation as it is now; only ``uses_left`` ever changes."""
        ...

    def all(self) -> Sequence[Invitation]:
        """Return every invitation, in the order of their ids."""
        ...


class ReportRepository(Protocol):
    """Which foremen said that a worker won and did not deliver."""

    def add(self, *, worker: str, foreman: str, at: float) -> None:
        """Note a report; a second one of the same foreman about the same worker changes nothing."""
        ...

    def count(self, worker: str) -> int:
        """Return how many foremen have reported a worker."""
        ...


class ReputationRepository(Protocol):
    """How far workers are known."""

    def find(self, workers: Collection[str], foremen: Collection[str]) -> Sequence[Reputation]:
        """Return what there is about these workers: the general reputations and the foremen's own, of every runtime."""
        ...

    def locked(self, known: Collection[tuple[str, RuntimeClass]], foremen: Collection[str]) -> Sequence[Reputation]:
        """Return the same of workers in a runtime each, and let nobody else return it so until this unit of work ends,
        even where there is nothing yet. To be asked once in a unit of work, for all that it will save."""
        ...

    def save(self, reputations: Collection[Reputation]) -> None:
        """Store locked or new reputations as they are now."""
        ...

    def caught_since(self, at: float, foremen: Collection[str]) -> Sequence[Reputation]:
        """Return the general reputations, and these foremen's own, of those who were caught lying at that time or
        later: what everybody, and what each of these foremen, goes by."""
        ...

    def alarms(self, foremen: Collection[str], since: float) -> Mapping[str, float]:
        """Return the time of the last alarm of each of these foremen that had one at that time or later (Unix
        seconds)."""
        ...

    def forget(self, before: float) -> None:
        """Drop reputations as of that time (Unix seconds) or earlier, a limited number a call."""
        ...


class AnchorRepository(Protocol):
    """The workers that the operator vouches for."""

    def all(self) -> Collection[str]:
        """Return every anchor."""
        ...

    def add(self, worker: str) -> None:
        """Make the worker of a known account an anchor; if it is one, nothing changes."""
        ...

    def remove(self, worker: str) -> None:
        """Let a worker be no anchor any more; if it is none, nothing changes."""
        ...


class Ledger(Protocol):
    """The books: see ``ec262.domain.discovery.ledger`` for the rules that every adapter applies."""

    def post(self, transfers: Iterable[Transfer]) -> None:
        """Move credits; the same transfer again moves nothing. Raises LedgerError, here or at the commit, if an id
        stands for another transfer, or an account would be overdrawn when all are posted."""
        ...

    def balance(self, account: str) -> int:
        """Return the balance of a ledger account, with all that was posted; one that was never used has zero."""
        ...

    def locked_balance(self, account: str) -> int:
        """Return the balance of a ledger account, and lock it."""
        ...

    def balances(self) -> Mapping[str, int]:
        """Return every balance that is not zero."""
        ...

    def has_earned(self, account: str) -> bool:
        """Tell whether a ledger account was ever paid for work. Who bought much, and came to work later, may not be
        found out: how far it looks is limited."""
        ...

    def together(self, prefix: str) -> tuple[int, int]:
        """Return how many accounts whose names begin so have credits, and how many credits these are. It takes time in
        proportion to those accounts, not to all."""
        ...

    def transfers(self) -> Sequence[Transfer]:
        """Return every movement that is kept, oldest first."""
        ...

    def statement(self, account: str, *, before: int | None, limit: int) -> Sequence[Posting]:
        """Return up to ``limit`` movements of a ledger account, newest first, and what older ones come to; only those
        before a position, if one is named."""
        ...

    def oldest(self, *, after: int, limit: int) -> Sequence[tuple[int, Transfer]]:
        """Return up to ``limit`` movements behind a position, oldest first, with their positions."""
        ...

    def fold(self, *, after: int, upto: int) -> None:
        """Keep of the movements behind one position, up to another, only what they come to: see
        ``ec262.domain.discovery.folding``. Grants stay as they are. It may be done again. The last movement of all is
        not to be among them: new ones get their positions behind it."""
        ...

    def folds(self) -> Sequence[Fold]:
        """Return what movements come to that are not kept any more."""
        ...


class PoolRepository(Protocol):
    """The leases of workers."""

    def lock(self) -> None:
        """Let nobody else draw workers until this unit of work ends."""
        ...

    def get(self, worker: str) -> Member | None:
        """Find a worker's lease, run out or not."""
        ...

    def find(self, workers: Collection[str]) -> Sequence[Member]:
        """Return the leases of those of the workers that have one, run out or not."""
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
        """Return those of the leases that end after ``now`` whose workers have earned nothing yet."""
        ...

    def purge(self, now: float) -> None:
        """Drop the leases that end at ``now`` or before."""
        ...


Process = tuple[str, str]
"""A worker's id, and the fingerprint of the certificate that its process has made: what was assigned to another process
of the worker will not be committed any more."""


class TaskRepository(Protocol):
    """Tasks with their replicas."""

    def add(self, tasks: Collection[Task]) -> None:
        """Store new tasks."""
        ...

    def save(self, tasks: Collection[Task]) -> None:
        """Store known, locked tasks as they are now: state, key, digest, times and ``steered`` may have changed;
        replicas may have come, and changed in digest, arrival, payment, fetched and given up."""
        ...

    def find(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist, in the order of their ids."""
        ...

    def locked(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist, in the order of their ids, and lock them."""
        ...

    def of_purchase(self, purchase: str) -> Sequence[Task]:
        """Return the tasks that have replicas of a purchase and are not forgotten, in the order of their ids."""
        ...

    def due(self, now: float, *, limit: int) -> Sequence[Task]:
        """Return, and lock, up to ``limit`` tasks whose deadline passed without having been applied. Tasks that
        another unit of work has locked may be left out: it has applied their deadlines, or will."""
        ...

    def busy(self, now: float) -> Mapping[Process, int]:
        """Return, for each process that has any, how many replicas of open tasks take its slots (``takes_slot``)."""
        ...

    def late(self) -> Mapping[Process, int]:
        """Return, for each process that has any, how many replicas it may still be computing (``is_late``) of tasks
        that are decided and whose deadline was not applied yet."""
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
    def invitations(self) -> InvitationRepository:
        """Codes that bring credits."""
        ...

    @property
    def reports(self) -> ReportRepository:
        """Which winners did not deliver."""
        ...

    @property
    def reputations(self) -> ReputationRepository:
        """How far workers are known."""
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
