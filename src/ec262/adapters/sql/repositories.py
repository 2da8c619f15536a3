"""Accounts, invitations, reports, leases and purchases over one open transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

import attrs
from sqlalchemy import bindparam, delete, func, insert, select, text, update

from ec262.adapters.sql.engine.dialects import one_of, upsert
from ec262.adapters.sql.engine.statements import Statements
from ec262.adapters.sql.schema import schema
from ec262.adapters.sql.values import address_of, names_text, packages_of, runtime_of, runtime_text
from ec262.domain.discovery.accounts import Account, Invitation
from ec262.domain.discovery.pool.pool import Member
from ec262.domain.discovery.purchases import PurchaseRecord

Found = TypeVar("Found")

POOL_LOCK = 262_0001
"""The number of PostgreSQL's advisory lock for drawing workers."""

PURGE_LIMIT = 10_000
"""Most rows that one call forgets: others wait for it. What is left comes with the next call."""

_accounts, _tokens, _invitations = schema.accounts, schema.tokens, schema.invitations
_reports, _members, _purchases = schema.reports, schema.members, schema.purchases
_anchors = schema.anchors


class SqlAccounts:
    """The accounts, and their tokens."""

    _BY_TOKEN = (
        select(_accounts)
        .join_from(_tokens, _accounts)
        .where(_tokens.c.digest == bindparam("digest"), ~_tokens.c.revoked)
    )
    _GET = select(_accounts).where(_accounts.c.id == bindparam("id"))
    # It does not stand in the way of rows that refer to the account, as those of tasks do.
    _LOCK = select(_accounts.c.id).where(_accounts.c.id == bindparam("id")).with_for_update(key_share=True)
    _IS_REVOKED = select(_tokens.c.revoked).where(_tokens.c.digest == bindparam("digest"))
    _ADD, _ADD_TOKEN = insert(_accounts), insert(_tokens)
    _SAVE = (
        update(_accounts)
        .where(_accounts.c.id == bindparam("known"))
        .values(owner=bindparam("owner"), frozen=bindparam("frozen"))
    )
    _REVOKE = update(_tokens).where(_tokens.c.account == bindparam("of")).values(revoked=True)
    _PAGE = (
        select(_accounts).where(_accounts.c.id > bindparam("after")).order_by(_accounts.c.id).limit(bindparam("most"))
    )

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def by_token(self, token_digest: bytes) -> Account | None:
        """Find the account that a token opens."""
        return _first(map(_account, self._statements.fetch(self._BY_TOKEN, {"digest": token_digest})))

    def get(self, account: str) -> Account | None:
        """Find an account by its id."""
        return _first(map(_account, self._statements.fetch(self._GET, {"id": account})))

    def lock(self, account: str) -> None:
        """Keep others from locking the account until this unit of work ends."""
        self._statements.fetch(self._LOCK, {"id": account})

    def is_revoked(self, token_digest: bytes) -> bool:
        """Tell whether a token once opened an account, and does not any more."""
        return any(self._statements.column(self._IS_REVOKED, {"digest": token_digest}))

    def add(self, account: Account, token_digest: bytes) -> None:
        """Store a new account and the token that opens it."""
        self._statements.change(self._ADD, attrs.asdict(account))
        self.add_token(account.id, token_digest)

    def save(self, account: Account) -> None:
        """Store a known account as it is now."""
        self._statements.change(self._SAVE, {"known": account.id, "owner": account.owner, "frozen": account.frozen})

    def revoke(self, account: str) -> None:
        """From now on no token that an account has opens it."""
        self._statements.change(self._REVOKE, {"of": account})

    def add_token(self, account: str, token_digest: bytes) -> None:
        """Let one more token open a known account."""
        self._statements.change(self._ADD_TOKEN, {"digest": token_digest, "account": account, "revoked": False})

    def page(self, *, after: str, limit: int) -> Sequence[Account]:
        """Return up to ``limit`` accounts whose ids come after ``after``, in the order of their ids."""
        return [_account(row) for row in self._statements.fetch(self._PAGE, {"after": after, "most": limit})]


class SqlInvitations:
    """Codes that bring credits."""

    _LOCKED = select(_invitations).where(_invitations.c.code_digest == bindparam("digest")).with_for_update()
    _ADD = insert(_invitations)
    _SAVE = update(_invitations).where(_invitations.c.id == bindparam("known")).values(uses_left=bindparam("left"))
    _ALL = select(_invitations).order_by(_invitations.c.id)

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def locked(self, code_digest: bytes) -> Invitation | None:
        """Find and lock an invitation by its code's digest."""
        return _first(map(_invitation, self._statements.fetch(self._LOCKED, {"digest": code_digest})))

    def add(self, invitation: Invitation) -> None:
        """Store a new invitation."""
        self._statements.change(self._ADD, attrs.asdict(invitation))

    def save(self, invitation: Invitation) -> None:
        """Store a known invitation as it is now."""
        self._statements.change(self._SAVE, {"known": invitation.id, "left": invitation.uses_left})

    def all(self) -> Sequence[Invitation]:
        """Return every invitation, in the order of their ids."""
        return [_invitation(row) for row in self._statements.fetch(self._ALL)]


class SqlReports:
    """Which foremen said that a worker won and did not deliver."""

    _ADD = text("INSERT INTO reports (worker, foreman, at) VALUES (:worker, :foreman, :at) ON CONFLICT DO NOTHING")
    _COUNT = select(func.count()).select_from(_reports).where(_reports.c.worker == bindparam("worker"))

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def add(self, *, worker: str, foreman: str, at: float) -> None:
        """Note a report, once for each foreman and worker."""
        self._statements.change(self._ADD, {"worker": worker, "foreman": foreman, "at": at})

    def count(self, worker: str) -> int:
        """Return how many foremen have reported a worker."""
        return sum(self._statements.column(self._COUNT, {"worker": worker}))


class SqlAnchors:
    """The workers that the operator vouches for."""

    _ALL = select(_anchors.c.worker)
    _ADD = text("INSERT INTO anchors (worker) VALUES (:worker) ON CONFLICT DO NOTHING")
    _REMOVE = delete(_anchors).where(_anchors.c.worker == bindparam("anchor"))

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def all(self) -> Collection[str]:
        """Return every anchor."""
        return frozenset(self._statements.column(self._ALL, {}))

    def add(self, worker: str) -> None:
        """Make the worker of a known account an anchor."""
        self._statements.change(self._ADD, {"worker": worker})

    def remove(self, worker: str) -> None:
        """Let a worker be no anchor any more."""
        self._statements.change(self._REMOVE, {"anchor": worker})


class SqlPool:
    """The leases of workers."""

    _GET = select(_members).where(_members.c.worker == bindparam("worker"))
    _FIND = select(_members).where(one_of(_members.c.worker, "workers"))
    _PUT = upsert(_members)
    _REMOVE = delete(_members).where(_members.c.worker == bindparam("worker"))
    _ALIVE = select(_members).where(_members.c.expires_at > bindparam("now")).order_by(_members.c.worker)
    _BEGINNERS = select(_members).where(_members.c.expires_at > bindparam("now"), schema.BEGINNER)
    _ENDED = (
        select(_members.c.worker)
        .where(_members.c.expires_at <= bindparam("now"))
        .limit(PURGE_LIMIT)
        .with_for_update(skip_locked=True)
    )
    _PURGE = delete(_members).where(one_of(_members.c.worker, "workers"))

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def lock(self) -> None:
        """Keep others from drawing workers until this unit of work ends."""
        self._statements.lock(POOL_LOCK)

    def get(self, worker: str) -> Member | None:
        """Find a worker's lease, run out or not."""
        return _first(map(_member, self._statements.fetch(self._GET, {"worker": worker})))

    def put(self, member: Member) -> None:
        """Add or replace a worker's lease."""
        values = {
            "worker": member.worker,
            **attrs.asdict(member.address),
            "runtime": runtime_text(member.runtime),
            "packages": names_text(tuple(sorted(member.packages))),
            "slots": member.slots,
            "expires_at": member.expires_at,
            "owner": member.owner,
            "block": member.block,
            "earned": member.earned,
        }
        self._statements.change(self._PUT, values)

    def remove(self, worker: str) -> None:
        """End a worker's lease, if it has one."""
        self._statements.change(self._REMOVE, {"worker": worker})

    def find(self, workers: Collection[str]) -> Sequence[Member]:
        """Return the leases of those of the workers that have one, run out or not."""
        return [_member(row) for row in self._statements.fetch(self._FIND, {"workers": sorted(set(workers))})]

    def alive(self, now: float) -> Sequence[Member]:
        """Return the leases that end after ``now``."""
        return [_member(row) for row in self._statements.fetch(self._ALIVE, {"now": now})]

    def beginners(self, now: float) -> Sequence[Member]:
        """Return those whose workers have earned nothing yet."""
        return [_member(row) for row in self._statements.fetch(self._BEGINNERS, {"now": now})]

    def purge(self, now: float) -> None:
        """Drop the leases that end at ``now`` or before; one that is just being renewed is left alone."""
        ended = self._statements.column(self._ENDED, {"now": now})
        if ended:
            self._statements.change(self._PURGE, {"workers": ended})


class SqlPurchases:
    """The ids that foremen made."""

    _GET = select(_purchases).where(_purchases.c.id == bindparam("id"))
    _ADD = insert(_purchases)
    _OVER = (
        select(_purchases.c.id)
        .where(_purchases.c.forgotten_at <= bindparam("now"), schema.MOVED_NOTHING)
        .limit(PURGE_LIMIT)
        .with_for_update(skip_locked=True)
    )
    _FORGET = delete(_purchases).where(one_of(_purchases.c.id, "ids"))

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def get(self, purchase: str) -> PurchaseRecord | None:
        """Find a purchase."""
        return _first(map(_purchase, self._statements.fetch(self._GET, {"id": purchase})))

    def add(self, record: PurchaseRecord) -> None:
        """Store a new purchase."""
        self._statements.change(self._ADD, attrs.asdict(record))

    def forget(self, now: float) -> None:
        """Drop the purchases to be forgotten that moved no credits."""
        over = self._statements.column(self._OVER, {"now": now})
        if over:
            self._statements.change(self._FORGET, {"ids": over})


def _first(found: Iterator[Found]) -> Found | None:
    return next(found, None)


def _account(row: Sequence[Any]) -> Account:
    name, opened_at, owner, frozen = row
    return Account(id=name, opened_at=opened_at, owner=owner, frozen=bool(frozen))


def _invitation(row: Sequence[Any]) -> Invitation:
    name, code_digest, credits, uses_left, owner, expires_at = row
    return Invitation(
        id=name,
        code_digest=code_digest,
        credits=credits,
        uses_left=uses_left,
        owner=owner,
        expires_at=expires_at,
    )


def _member(row: Sequence[Any]) -> Member:
    worker, host, port, fingerprint, runtime, packages, slots, expires_at, owner, block, earned = row
    return Member(
        worker=worker,
        address=address_of(host, port, fingerprint),
        runtime=runtime_of(runtime),
        packages=packages_of(packages),
        slots=slots,
        expires_at=expires_at,
        owner=owner,
        block=block,
        earned=bool(earned),
    )


def _purchase(row: Sequence[Any]) -> PurchaseRecord:
    name, foreman, digest, tasks, price, credits, shortfall, forgotten_at = row
    return PurchaseRecord(
        id=name,
        foreman=foreman,
        command_digest=digest,
        tasks=tasks,
        price=price,
        credits=credits,
        shortfall=shortfall,
        forgotten_at=forgotten_at,
    )
