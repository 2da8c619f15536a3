"""What the operator of a discovery service does to it: beside the service, over the same storage, while it runs."""

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
"""Rows that are read, or asked after, at once."""

NAME_PATTERN = r"[A-Za-z0-9._@+-]{1,64}"
"""What the names of grants and owners look like."""

MAX_INVITATION_S = 36_500 * 24 * 3600.0
"""A hundred years: later times cannot be shown as dates everywhere."""

CODE_BYTES = 24
"""As hexadecimal digits, the 48 characters of an invitation's code."""


@attrs.frozen(kw_only=True)
class AccountView:
    """An account as its operator sees it."""

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
    """A grant under its id, and what the account has then; ``repeated`` says that it was made before."""

    id: str
    account: str
    credits: int
    repeated: bool


@attrs.frozen(kw_only=True)
class NewInvitation:
    """An invitation and its code, which nobody can tell later."""

    code: str = attrs.field(repr=False)
    invitation: Invitation


class DiscoveryAdmin:
    """The operator's use cases. Every method raises DiscoveryUnavailable when the storage does not answer, and
    InvalidRequest where there is no such account, or a name or an amount is not to be used."""

    def __init__(
        self, *, unit_of_work: UnitOfWorkFactory, snapshot: UnitOfWorkFactory, clock: Clock, entropy: Entropy
    ) -> None:
        """``snapshot`` makes units of work for reading alone, each of which sees the storage as it is at one moment."""
        self._unit_of_work = unit_of_work
        self._snapshot = snapshot
        self._clock = clock
        self._entropy = entropy

    def accounts(self) -> list[AccountView]:
        """Tell of every account, in the order of their ids."""
        views: list[AccountView] = []
        while True:
            with self._snapshot() as uow:
                page = uow.accounts.page(after=views[-1].account if views else "", limit=PAGE)
                views += [_view(uow, account) for account in page]
            if len(page) < PAGE:
                return views

    def account(self, account: str) -> AccountView:
        """Tell of one account."""
        with self._snapshot() as uow:
            return _view(uow, _known(uow, account))

    def reputations(self, account: str) -> list[Reputation]:
        """Tell how far a worker is known by everybody, in each runtime class, as of its last settled task."""
        with self._snapshot() as uow:
            found = uow.reputations.find([_known(uow, account).id], [])
        return sorted(found, key=lambda reputation: reputation.as_of, reverse=True)

    def history(self, account: str, *, limit: int) -> list[HistoryEntry]:
        """Tell up to ``limit`` movements of an account, newest first."""
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

    def grant(self, account: str, credits: int, *, id: str | None = None) -> Granted:  # noqa: A002 - as the ledger has it
        """Give credits to an account. The same ``id`` again gives nothing; without one, it is a grant of its own.

        Raises InvalidRequest also if the amount is not positive or above ``MAX_GRANT``, or the id stands for another
        grant.
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
        """Let none of an account's tokens open it any more, and its worker leave the pool."""

        def change(uow: UnitOfWork, known: Account) -> None:
            uow.accounts.revoke(known.id)
            uow.pool.remove(known.id)

        self._change(account, change)

    def freeze(self, account: str) -> None:
        """Let an account look, and nothing else; its worker leaves the pool. What is under way goes on."""

        def change(uow: UnitOfWork, known: Account) -> None:
            uow.accounts.save(attrs.evolve(known, frozen=True))
            uow.pool.remove(known.id)

        self._change(account, change)

    def unfreeze(self, account: str) -> None:
        """Let a frozen account do all again."""
        self._change(account, lambda uow, known: uow.accounts.save(attrs.evolve(known, frozen=False)))

    def set_owner(self, account: str, owner: str) -> None:
        """Say whose an account is; its worker's next lease knows. An empty owner means: nobody's but its own."""
        owner = owner and _checked(owner)
        self._change(account, lambda uow, known: uow.accounts.save(attrs.evolve(known, owner=owner or known.id)))

    def add_anchor(self, account: str) -> None:
        """Vouch for a worker: all trust descends from anchors."""
        self._change(account, lambda uow, known: uow.anchors.add(known.id))

    def remove_anchor(self, account: str) -> None:
        """Do not vouch for a worker any more; nothing that was learned is forgotten."""
        self._change(account, lambda uow, known: uow.anchors.remove(known.id))

    def anchors(self) -> list[AccountView]:
        """Tell of every anchor, in the order of their ids."""
        with self._snapshot() as uow:
            return [_view(uow, _known(uow, account)) for account in sorted(uow.anchors.all())]

    def invite(
        self, *, credits: int, uses: int = 1, owner: str = "", expires_in_s: float | None = None
    ) -> NewInvitation:
        """Make an invitation. Raises InvalidRequest if it would bring nothing, to nobody or at no time, or more than
        the books hold."""
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
        """Tell of every invitation ever made."""
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
