"""The discovery service's storage in memory: dictionaries, a lock, and a journal of what to undo."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from types import TracebackType
from typing import Self

from ec262.adapters.memory.table import Journal, Table
from ec262.adapters.memory.tasks import MemoryTasks
from ec262.domain.discovery.accounts import Account, Invitation
from ec262.domain.discovery.folding import Fold, Posting, fold, is_over
from ec262.domain.discovery.ledger import FOR_WORK, Transfer, change, moved
from ec262.domain.discovery.pool.pool import Member
from ec262.domain.discovery.purchases import PurchaseRecord
from ec262.domain.discovery.reputation import EVERYBODY, Reputation
from ec262.domain.errors import LedgerError
from ec262.domain.protocol.reason import Reason
from ec262.domain.work.runtime import RuntimeClass

_Known = Mapping[str, Mapping[RuntimeClass, Reputation]]
"""What is known of a worker: by which foreman, or by everybody, and as which runtime class."""


class MemoryAccounts:
    """Accounts, and which of them each token opens; an empty name stands for none any more."""

    def __init__(self, journal: Journal) -> None:
        self._accounts: Table[Account] = Table(journal)
        self._tokens: Table[str] = Table(journal)

    def by_token(self, token_digest: bytes) -> Account | None:
        """Find the account that a token opens."""
        return self.get(self._tokens.rows.get(token_digest.hex(), ""))

    def get(self, account: str) -> Account | None:
        """Find an account by its id."""
        return self._accounts.rows.get(account)

    def lock(self, account: str) -> None:
        """Nothing to do: units of work exclude each other here."""

    def is_revoked(self, token_digest: bytes) -> bool:
        """Tell whether a token once opened an account, and does not any more."""
        return self._tokens.rows.get(token_digest.hex()) == ""

    def add(self, account: Account, token_digest: bytes) -> None:
        """Store a new account and the token that opens it."""
        self.save(account)
        self.add_token(account.id, token_digest)

    def save(self, account: Account) -> None:
        """Store an account as it is now."""
        self._accounts.put(account.id, account)

    def revoke(self, account: str) -> None:
        """From now on no token that an account has opens it."""
        for digest in [digest for digest, opened in self._tokens.rows.items() if opened == account]:
            self._tokens.put(digest, "")

    def add_token(self, account: str, token_digest: bytes) -> None:
        """Let one more token open a known account."""
        self._tokens.put(token_digest.hex(), account)

    def page(self, *, after: str, limit: int) -> Sequence[Account]:
        """Return up to ``limit`` accounts whose ids come after ``after``, in the order of their ids."""
        return [account for key, account in sorted(self._accounts.rows.items()) if key > after][:limit]


class MemoryInvitations:
    """Invitations by the digest of their code."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[Invitation] = Table(journal)

    def locked(self, code_digest: bytes) -> Invitation | None:
        """Find an invitation by its code's digest."""
        return self._table.rows.get(code_digest.hex())

    def add(self, invitation: Invitation) -> None:
        """Store a new invitation."""
        self.save(invitation)

    def save(self, invitation: Invitation) -> None:
        """Store an invitation as it is now."""
        self._table.put(invitation.code_digest.hex(), invitation)

    def all(self) -> Sequence[Invitation]:
        """Return every invitation, in the order of their ids."""
        return sorted(self._table.rows.values(), key=lambda invitation: invitation.id)


class MemoryReports:
    """Who reported whom."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[float] = Table(journal)

    def add(self, *, worker: str, foreman: str, at: float) -> None:
        """Note a report, once for each foreman and worker."""
        self._table.put(f"{worker}/{foreman}", self._table.rows.get(f"{worker}/{foreman}", at))

    def count(self, worker: str) -> int:
        """Return how many foremen have reported a worker."""
        return sum(pair.startswith(f"{worker}/") for pair in self._table.rows)


class MemoryReputations:
    """Reputations by worker, and of each by foreman and runtime: many foremen may know a worker, and a purchase or a
    commitment asks for the reputations of a few."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[_Known] = Table(journal)
        self._caught: Table[_Known] = Table(journal)
        self._last_lies: Table[float] = Table(journal)
        self._alarms: Table[float] = Table(journal)

    def find(self, workers: Collection[str], foremen: Collection[str]) -> Sequence[Reputation]:
        """Return the general reputations of these workers and the foremen's own."""
        rows = self._table.rows
        known = [rows[worker] for worker in set(workers) if worker in rows]
        return _known_by(known, dict.fromkeys((EVERYBODY, *foremen)))

    def locked(self, known: Collection[tuple[str, RuntimeClass]], foremen: Collection[str]) -> Sequence[Reputation]:
        """Return the same of workers in a runtime each."""
        found = self.find([worker for worker, _ in known], foremen)
        return [reputation for reputation in found if (reputation.worker, reputation.runtime) in known]

    def save(self, reputations: Collection[Reputation]) -> None:
        """Store reputations as they are now."""
        for reputation in reputations:
            _put(self._table, reputation)
            if reputation.caught_at is not None:
                _put(self._caught, reputation)
                if reputation.caught_at > self._last_lies.rows.get(reputation.foreman, -math.inf):
                    self._last_lies.put(reputation.foreman, reputation.caught_at)
            if reputation.alarmed_at is not None and reputation.alarmed_at > self._alarms.rows.get(
                reputation.foreman, 0.0
            ):
                self._alarms.put(reputation.foreman, reputation.alarmed_at)

    def caught_since(self, at: float, foremen: Collection[str]) -> Sequence[Reputation]:
        """Return the general reputations and the foremen's own of those who were caught lying at that time or later."""
        # Each commitment asks for the lies of its task's time, and mostly there are none.
        asked = [
            name for name in dict.fromkeys((EVERYBODY, *foremen)) if self._last_lies.rows.get(name, -math.inf) >= at
        ]
        lies = _known_by(self._caught.rows.values(), asked) if asked else ()
        return [each for each in lies if each.caught_at is not None and each.caught_at >= at]

    def alarms(self, foremen: Collection[str], since: float) -> Mapping[str, float]:
        """Return the time of the last alarm of each of these foremen that had one at that time or later."""
        last = {foreman: self._alarms.rows.get(foreman, -math.inf) for foreman in foremen}
        return {foreman: at for foreman, at in last.items() if at >= since}

    def forget(self, before: float) -> None:
        """Drop old reputations."""
        for table in (self._table, self._caught):
            for worker, known in list(table.rows.items()):
                kept = {
                    foreman: {runtime: each for runtime, each in kinds.items() if each.as_of > before}
                    for foreman, kinds in known.items()
                }
                if kept != known:
                    table.put(worker, {foreman: kinds for foreman, kinds in kept.items() if kinds})


def _known_by(known: Iterable[_Known], asked: Collection[str]) -> list[Reputation]:
    """Pick what these foremen know."""
    return [
        reputation
        for by_foreman in known
        for foreman in asked
        if foreman in by_foreman
        for reputation in by_foreman[foreman].values()
    ]


def _put(table: Table[_Known], reputation: Reputation) -> None:
    known = table.rows.get(reputation.worker, {})
    kinds = {**known.get(reputation.foreman, {}), reputation.runtime: reputation}
    table.put(reputation.worker, {**known, reputation.foreman: kinds})


class MemoryAnchors:
    """The workers that the operator vouches for."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[str] = Table(journal)

    def all(self) -> Collection[str]:
        """Return every anchor."""
        return frozenset(self._table.rows)

    def add(self, worker: str) -> None:
        """Make a worker an anchor."""
        self._table.put(worker, worker)

    def remove(self, worker: str) -> None:
        """Let a worker be no anchor any more."""
        self._table.drop(worker)


class MemoryLedger:
    """The books."""

    def __init__(self, journal: Journal) -> None:
        self._transfers: Table[tuple[int, Transfer]] = Table(journal)
        self._positions = itertools.count(1)
        self._folds: Table[Fold] = Table(journal)
        self._balances: Table[int] = Table(journal)
        self._earned: Table[str] = Table(journal)

    def post(self, transfers: Iterable[Transfer]) -> None:
        """Move credits, once."""
        for transfer in transfers:
            posted = self._transfers.rows.get(transfer.id)
            if posted is None:
                self._move(transfer)
            elif posted[1] != transfer:
                raise LedgerError(f"the transfer {transfer.id} was posted before with different contents")

    def _move(self, transfer: Transfer) -> None:
        for account, balance in moved(self._balances.rows, transfer).items():
            if balance:
                self._balances.put(account, balance)
            else:
                self._balances.drop(account)
        if transfer.reason in FOR_WORK and transfer.credit not in self._earned.rows:
            self._earned.put(transfer.credit, transfer.credit)
        self._transfers.put(transfer.id, (next(self._positions), transfer))

    def balance(self, account: str) -> int:
        """Return the balance of a ledger account."""
        return self._balances.rows.get(account, 0)

    def locked_balance(self, account: str) -> int:
        """Return the balance of a ledger account."""
        return self.balance(account)

    def balances(self) -> Mapping[str, int]:
        """Return every balance that is not zero."""
        return dict(self._balances.rows)

    def has_earned(self, account: str) -> bool:
        """Tell whether a ledger account was ever paid for work."""
        return account in self._earned.rows

    def together(self, prefix: str) -> tuple[int, int]:
        """Return how many accounts whose names begin so have credits, and how many credits these are."""
        found = [balance for account, balance in self._balances.rows.items() if account.startswith(prefix)]
        return len(found), sum(found)

    def transfers(self) -> Sequence[Transfer]:
        """Return every movement, oldest first."""
        return [transfer for _, transfer in self._in_order()]

    def statement(self, account: str, *, before: int | None, limit: int) -> Sequence[Posting]:
        """Return up to ``limit`` movements of a ledger account, newest first."""
        entries: list[tuple[int, int, Transfer | Fold]] = [
            (position, change(transfer, account), transfer)
            for position, transfer in self._transfers.rows.values()
            if account in {transfer.debit, transfer.credit}
        ]
        entries += [(each.position, each.change, each) for each in self._folds.rows.values() if each.account == account]
        postings, balance = [], 0
        for position, moved_by, entry in sorted(entries, key=itemgetter(0)):
            balance += moved_by
            postings.append(Posting(position=position, entry=entry, change=moved_by, balance=balance))
        return [posting for posting in reversed(postings) if before is None or posting.position < before][:limit]

    def oldest(self, *, after: int, limit: int) -> Sequence[tuple[int, Transfer]]:
        """Return up to ``limit`` movements behind a position, oldest first."""
        return [row for row in self._in_order() if row[0] > after][:limit]

    def _in_order(self) -> list[tuple[int, Transfer]]:
        return sorted(self._transfers.rows.values(), key=itemgetter(0))

    def fold(self, *, after: int, upto: int) -> None:
        """Keep only what movements come to."""
        old = [row for row in self._in_order() if after < row[0] <= upto and row[1].reason is not Reason.GRANT]
        for new in fold(old):
            key = f"{new.account} {new.month}"
            known = self._folds.rows.get(key)
            whole = new if known is None else known.with_more(new)
            if is_over(whole):
                self._folds.drop(key)
            else:
                self._folds.put(key, whole)
        for _, transfer in old:
            self._transfers.drop(transfer.id)

    def folds(self) -> Sequence[Fold]:
        """Return what movements come to that are not kept any more."""
        return list(self._folds.rows.values())


class MemoryPool:
    """The leases of workers."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[Member] = Table(journal)

    def lock(self) -> None:
        """Nothing to do: units of work exclude each other here."""

    def get(self, worker: str) -> Member | None:
        """Find a worker's lease, run out or not."""
        return self._table.rows.get(worker)

    def find(self, workers: Collection[str]) -> Sequence[Member]:
        """Return the leases of those of the workers that have one."""
        return [self._table.rows[worker] for worker in set(workers) if worker in self._table.rows]

    def put(self, member: Member) -> None:
        """Add or replace a worker's lease."""
        self._table.put(member.worker, member)

    def remove(self, worker: str) -> None:
        """End a worker's lease, if it has one."""
        self._table.drop(worker)

    def alive(self, now: float) -> Sequence[Member]:
        """Return the leases that end after ``now``."""
        rows = self._table.rows
        return [member for member in map(rows.__getitem__, sorted(rows)) if member.expires_at > now]

    def beginners(self, now: float) -> Sequence[Member]:
        """Return those whose workers have earned nothing yet."""
        return [member for member in self.alive(now) if not member.earned]

    def purge(self, now: float) -> None:
        """Drop the leases that end at ``now`` or before."""
        for worker in [worker for worker, member in self._table.rows.items() if member.expires_at <= now]:
            self._table.drop(worker)


class MemoryPurchases:
    """The ids that foremen made."""

    def __init__(self, journal: Journal) -> None:
        self._table: Table[PurchaseRecord] = Table(journal)

    def get(self, purchase: str) -> PurchaseRecord | None:
        """Find a purchase."""
        return self._table.rows.get(purchase)

    def add(self, record: PurchaseRecord) -> None:
        """Store a new purchase."""
        self._table.put(record.id, record)

    def forget(self, now: float) -> None:
        """Drop the purchases to be forgotten that moved no credits."""
        for record in list(self._table.rows.values()):
            if record.forgotten_at <= now and record.price == 0:
                self._table.drop(record.id)


class MemoryStore:
    """Storage that lives as long as this object. Its ``unit_of_work`` is a UnitOfWorkFactory."""

    def __init__(self) -> None:
        self.journal: Journal = []
        self.turn = threading.Lock()
        self.accounts = MemoryAccounts(self.journal)
        self.invitations = MemoryInvitations(self.journal)
        self.reports = MemoryReports(self.journal)
        self.reputations = MemoryReputations(self.journal)
        self.anchors = MemoryAnchors(self.journal)
        self.ledger = MemoryLedger(self.journal)
        self.pool = MemoryPool(self.journal)
        self.tasks = MemoryTasks(self.journal)
        self.purchases = MemoryPurchases(self.journal)

    def unit_of_work(self) -> MemoryUnitOfWork:
        """Make a unit of work, to be entered once."""
        return MemoryUnitOfWork(self)


class MemoryUnitOfWork:
    """One transaction over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.accounts = store.accounts
        self.invitations = store.invitations
        self.reports = store.reports
        self.reputations = store.reputations
        self.anchors = store.anchors
        self.ledger = store.ledger
        self.pool = store.pool
        self.tasks = store.tasks
        self.purchases = store.purchases

    def __enter__(self) -> Self:
        self._store.turn.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._store.journal:
            self._store.journal.pop()()
        self._store.turn.release()

    def commit(self) -> None:
        """Forget how to undo what was done."""
        self._store.journal.clear()
