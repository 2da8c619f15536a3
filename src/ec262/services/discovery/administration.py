"""The operator's use cases. They work directly on the storage, even while the service runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import attrs

from ec262.domain.discovery import ledger
from ec262.domain.discovery.accounts import Account, Invitation
from ec262.domain.discovery.audit import Audit, audit_books
from ec262.domain.discovery.reputation import Reputation
from ec262.domain.discovery.tasks import Task
from ec262.domain.discovery.unit_of_work import UnitOfWork, UnitOfWorkFactory
from ec262.domain.errors import InvalidRequest, LedgerError
from ec262.domain.ports.clock import Clock, Entropy
from ec262.domain.protocol.account_calls import MAX_HISTORY, AccountStatus, HistoryEntry
from ec262.domain.protocol.token import token_digest
from ec262.services.discovery.discovery_policy import ID_BYTES
from ec262.services.discovery.replies import account_status, history_entry

PAGE = 500
"""Rows that are read or queried at a time."""

NAME_PATTERN = r"[A-Za-z0-9._@+-]{1,64}"
"""Valid names of grants and owners."""

MAX_INVITATION_S = 36_500 * 24 * 3600.0
"""A hundred years: later times cannot be shown as dates on every platform."""

CODE_BYTES = 24
"""Random bytes of an invitation's code, which is written as 48 hexadecimal digits."""


@attrs.frozen(kw_only=True)
class AccountView:
    """An account as the operator sees it."""

    account: str
    owner: str
    opened_at: float
    credits: int
    escrow: int
    open_tasks: int
    reports: int
    frozen: bool


@attrs.frozen(kw_only=True)
class Granted:
    """A grant, and the account's credits after it. ``repeated`` means that the grant had already been made."""

    id: str
    account: str
    credits: int
    repeated: bool


@attrs.frozen(kw_only=True)
class NewInvitation:
    """An invitation and its code, which is not stored and cannot be shown again."""

    code: str = attrs.field(repr=False)
    invitation: Invitation


class DiscoveryAdmin:
    """The operator's use cases. Every method raises DiscoveryUnavailable if the storage does not answer, and
    InvalidRequest if an account does not exist or a name or amount is invalid."""

    def __init__(
        self, *, unit_of_work: UnitOfWorkFactory, snapshot: UnitOfWorkFactory, clock: Clock, entropy: Entropy
    ) -> None:
        """``snapshot`` makes read-only units of work, each of which sees the storage as it is at one moment."""
        self._unit_of_work = unit_of_work
        self._snapshot = snapshot
        self._clock = clock
        self._entropy = entropy

    def accounts(self) -> list[AccountView]:
        """Return all accounts, in the order of their ids."""
        views: list[AccountView] = []
        while True:
            with self._snapshot() as uow:
                page = uow.accounts.page(after=views[-1].account if views else "", limit=PAGE)
                views += [_view(uow, account) for account in page]
            if len(page) < PAGE:
                return views

    def account(self, account: str) -> AccountView:
        """Return one account."""
        with self._snapshot() as uow:
            return _view(uow, _known(uow, account))

    def reputations(self, account: str) -> list[Reputation]:
        """Return a worker's general record in each runtime class, the most recently changed first."""
        with self._snapshot() as uow:
            found = uow.reputations.find([_known(uow, account).id], [])
        return sorted(found, key=lambda reputation: reputation.as_of, reverse=True)

    def history(self, account: str, *, limit: int) -> list[HistoryEntry]:
        """Return up to ``limit`` movements of an account, newest first."""
        entries: list[HistoryEntry] = []
        while True:
            with self._snapshot() as uow:
                name = ledger.user_account(_known(uow, account).id)
                before = entries[-1].position if entries else None
                wanted = min(MAX_HISTORY, limit - len(entries))
                page = uow.ledger.statement(name, before=before, limit=wanted)
            entries += map(history_entry, page)
            if len(page) < wanted or len(entries) == limit:
                return entries

    def grant(self, account: str, credits: int, *, id: str | None = None) -> Granted:  # noqa: A002 - the ledger's name
        """Give credits to an account. A second grant with the same ``id`` has no effect. Without an ``id``, every grant
        counts.

        Also raises InvalidRequest if the amount is not between 1 and ``MAX_GRANT``, or the id belongs to another grant.
        """
        if not 1 <= credits <= ledger.MAX_GRANT:
            raise InvalidRequest(f"a grant must be 1 to {ledger.MAX_GRANT:,} credits")
        name = self._new_id() if id is None else _checked(id)
        with self._unit_of_work() as uow:
            user = ledger.user_account(_known(uow, account).id)
            before = uow.ledger.locked_balance(user)
            try:
                uow.ledger.post([ledger.operator_grant(account, credits, id=name, at=self._clock())])
                after = uow.ledger.balance(user)
                uow.commit()
            except LedgerError as error:
                raise InvalidRequest(f"the id {name} belongs to another grant") from error
        return Granted(id=name, account=account, credits=after, repeated=after == before)

    def revoke(self, account: str) -> None:
        """Revoke all tokens of an account, and remove its worker from the pool."""

        def change(uow: UnitOfWork, known: Account) -> None:
            uow.accounts.revoke(known.id)
            uow.pool.remove(known.id)

        self._change(account, change)

    def freeze(self, account: str) -> None:
        """Restrict an account to reading, and remove its worker from the pool. Work in progress continues."""

        def change(uow: UnitOfWork, known: Account) -> None:
            uow.accounts.save(attrs.evolve(known, frozen=True))
            uow.pool.remove(known.id)

        self._change(account, change)

    def unfreeze(self, account: str) -> None:
        """Lift the restriction of a frozen account."""
        self._change(account, lambda uow, known: uow.accounts.save(attrs.evolve(known, frozen=False)))

    def set_owner(self, account: str, owner: str) -> None:
        """Set the owner of an account, from its worker's next lease on. If empty, the account is its own owner."""
        owner = owner and _checked(owner)
        self._change(account, lambda uow, known: uow.accounts.save(attrs.evolve(known, owner=owner or known.id)))

    def add_anchor(self, account: str) -> None:
        """Make a worker an anchor: all trust descends from anchors."""
        self._change(account, lambda uow, known: uow.anchors.add(known.id))

    def remove_anchor(self, account: str) -> None:
        """Stop vouching for a worker. Existing reputations stay valid."""
        self._change(account, lambda uow, known: uow.anchors.remove(known.id))

    def anchors(self) -> list[AccountView]:
        """Return all anchors, in the order of their ids."""
        with self._snapshot() as uow:
            return [_view(uow, _known(uow, account)) for account in sorted(uow.anchors.all())]

    def invite(
        self, *, credits: int, uses: int = 1, owner: str = "", expires_in_s: float | None = None
    ) -> NewInvitation:
        """Create an invitation. Raises InvalidRequest if its credits, uses or lifetime are not positive, or too
        large."""
        if credits < 1 or uses < 1:
            raise InvalidRequest("an invitation must give at least one credit to at least one account")
        if max(credits, uses) > ledger.MAX_GRANT:
            raise InvalidRequest(f"an invitation may have at most {ledger.MAX_GRANT:,} credits and as many uses")
        if expires_in_s is not None and not 0 < expires_in_s <= MAX_INVITATION_S:
            raise InvalidRequest("an invitation must expire after more than 0 and at most 36,500 days")
        code = self._entropy.token(CODE_BYTES).hex()
        invitation = Invitation(
            id=self._new_id(),
            code_digest=token_digest(code),
            credits=credits,
            uses_left=uses,
            owner=owner and _checked(owner),
            expires_at=None if expires_in_s is None else self._clock() + expires_in_s,
        )
        with self._unit_of_work() as uow:
            uow.invitations.add(invitation)
            uow.commit()
        return NewInvitation(code=code, invitation=invitation)

    def invitations(self) -> Sequence[Invitation]:
        """Return every invitation ever made."""
        with self._snapshot() as uow:
            return uow.invitations.all()

    def audit(self) -> Audit:
        """Check the books: see ``ec262.domain.discovery.audit``."""
        with self._snapshot() as uow:
            transfers = uow.ledger.transfers()
            named = sorted({transfer.task for transfer in transfers if transfer.task is not None})
            tasks: list[Task] = []
            for start in range(0, len(named), PAGE):
                tasks += uow.tasks.find(named[start : start + PAGE])
            escrow, last = 0, ""
            while page := uow.accounts.page(after=last, limit=PAGE):
                escrow += sum(uow.tasks.holdings(account.id).credits for account in page)
                last = page[-1].id
            return audit_books(uow.ledger.balances(), transfers, tasks, escrow=escrow, folds=uow.ledger.folds())

    def _change(self, account: str, change: Callable[[UnitOfWork, Account], None]) -> None:
        with self._unit_of_work() as uow:
            uow.accounts.lock(account)
            change(uow, _known(uow, account))
            uow.commit()

    def _new_id(self) -> str:
        return self._entropy.token(ID_BYTES).hex()


def _checked(name: str) -> str:
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidRequest(f"invalid name {name!r}: use 1 to 64 letters, digits and ._@+-")
    return name


def _known(uow: UnitOfWork, account: str) -> Account:
    known = uow.accounts.get(account)
    if known is None:
        raise InvalidRequest(f"there is no account {account}")
    return known


def _view(uow: UnitOfWork, account: Account) -> AccountView:
    status: AccountStatus = account_status(uow, account)
    return AccountView(owner=account.owner, opened_at=account.opened_at, **attrs.asdict(status))
