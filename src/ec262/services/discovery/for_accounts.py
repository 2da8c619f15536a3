"""The use cases of account holders."""

from __future__ import annotations

import attrs

from ec262.domain.discovery import ledger
from ec262.domain.discovery.accounts import Account, unknown_invitation
from ec262.domain.errors import InvitationRefused, NotAuthenticated
from ec262.domain.ports.clock import Entropy
from ec262.domain.protocol.account_calls import AccountStatus, History, HistoryQuery, OpenAccount, ReplaceToken
from ec262.domain.protocol.token import token_digest
from ec262.services.discovery.discovery_policy import ID_BYTES, Policy
from ec262.services.discovery.replies import account_status, history_entry
from ec262.services.discovery.transactions import REVOKED, Transaction, Transactions


class AccountDesk:
    """Opens accounts, reports their status, and replaces and revokes their tokens."""

    def __init__(self, transactions: Transactions, entropy: Entropy, policy: Policy) -> None:
        self._transactions = transactions
        self._entropy = entropy
        self._policy = policy

    def open(self, token: str, command: OpenAccount | None = None) -> AccountStatus:
        """Open the account of a token with the policy's grant, or return it if it exists.

        Raises NotAuthenticated if the token is too weak or has been revoked, InvitationRefused, and AccountFrozen if a
        frozen account presents an invitation.
        """
        invitation = command.invitation if command is not None else None
        with self._transactions.begin() as transaction:
            account = self._opened(transaction, token, grant=self._policy.grant)
            if invitation is not None:
                account = self._redeemed(transaction, transaction.locked(token), invitation)
            transaction.commit()
            return account_status(transaction.uow, account)

    def open_with_grant(self, token: str, grant: int) -> AccountStatus:
        """Open an account with a grant of its own; an existing account stays as it is. For composition roots only: no
        request creates credits beyond the policy's."""
        with self._transactions.begin() as transaction:
            account = self._opened(transaction, token, grant=grant)
            transaction.commit()
            return account_status(transaction.uow, account)

    def status(self, token: str) -> AccountStatus:
        """Return the status of an account."""
        with self._transactions.begin() as transaction:
            return account_status(transaction.uow, transaction.account(token))

    def history(self, token: str, query: HistoryQuery) -> History:
        """Return an account's movements, newest first."""
        with self._transactions.begin() as transaction:
            account = ledger.user_account(transaction.account(token).id)
            postings = transaction.uow.ledger.statement(account, before=query.before, limit=query.limit + 1)
        return History(
            entries=tuple(map(history_entry, postings[: query.limit])),
            more=len(postings) > query.limit,
        )

    def replace_token(self, token: str, command: ReplaceToken) -> None:
        """Replace the token that opens the account. Repeating the call has no effect.

        Raises AccountFrozen, and NotAuthenticated, also if the new token was used before.
        """
        old, new = token_digest(token), token_digest(command.token)
        with self._transactions.begin() as transaction:
            accounts = transaction.uow.accounts
            if accounts.is_revoked(old) and accounts.by_token(new) is not None:
                return  # already replaced; the reply was lost
            account = transaction.locked(token)
            if old == new:
                return
            if accounts.by_token(new) is not None or accounts.is_revoked(new):
                raise NotAuthenticated("the new token was used before")
            accounts.revoke(account.id)
            accounts.add_token(account.id, new)
            transaction.commit()

    def close(self, token: str) -> None:
        """Revoke the token, so that nothing opens the account any more, and remove its worker from the pool. Open tasks
        continue.

        Has no effect if the token is already revoked. Raises NotAuthenticated, AccountFrozen.
        """
        with self._transactions.begin() as transaction:
            if transaction.uow.accounts.is_revoked(token_digest(token)):
                return
            account = transaction.locked(token)
            transaction.uow.accounts.revoke(account.id)
            transaction.uow.pool.remove(account.id)
            transaction.commit()

    def _opened(self, transaction: Transaction, token: str, *, grant: int) -> Account:
        digest, accounts = token_digest(token), transaction.uow.accounts
        known = accounts.by_token(digest)
        if known is not None:
            return known
        if accounts.is_revoked(digest):
            raise NotAuthenticated(REVOKED)
        name = self._entropy.token(ID_BYTES).hex()
        account = Account(id=name, opened_at=transaction.now, owner=name)
        accounts.add(account, digest)
        if grant > 0:
            transaction.uow.ledger.post([ledger.grant(account.id, grant, at=transaction.now)])
        return account

    def _redeemed(self, transaction: Transaction, account: Account, code: str) -> Account:
        """Credit an invitation to an account, once, and set the owner that the invitation states."""
        if not self._policy.invitations:
            raise InvitationRefused("this service does not accept invitations")
        invitation = transaction.uow.invitations.locked(token_digest(code))
        if invitation is None:
            raise unknown_invitation()
        books = transaction.uow.ledger
        before = books.locked_balance(ledger.user_account(account.id))
        books.post([ledger.invitation_grant(account.id, invitation.id, invitation.credits, at=transaction.now)])
        if books.balance(ledger.user_account(account.id)) == before:
            return account  # redeemed before: posting the same transfer again moves nothing
        transaction.uow.invitations.save(invitation.redeemed(now=transaction.now))
        if invitation.owner:
            account = attrs.evolve(account, owner=invitation.owner)
            transaction.uow.accounts.save(account)
        return account
