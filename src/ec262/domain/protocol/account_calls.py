"""Calls of account holders to discovery, and the replies. See ``ec262.domain.protocol.foreman_calls`` for
conventions."""

from __future__ import annotations

import attrs
from attrs import validators as v

from ec262.domain.protocol.reason import Reason
from ec262.domain.protocol.token import TOKEN_PATTERN

MAX_HISTORY = 1000

_token = v.matches_re(TOKEN_PATTERN)


@attrs.frozen(kw_only=True)
class OpenAccount:
    """Open the token's account, or return it if it exists. An ``invitation`` adds its credits, once per account."""

    invitation: str | None = attrs.field(default=None, repr=False, validator=v.optional(_token))


@attrs.frozen(kw_only=True)
class AccountStatus:
    """An account and its balance in credits. ``escrow`` is the sum that its ``open_tasks`` hold. ``reports`` counts the
    foremen that reported it for winning a task without delivering the result. A ``frozen`` account can only be
    read."""

    account: str
    credits: int
    escrow: int
    open_tasks: int
    reports: int
    frozen: bool


@attrs.frozen(kw_only=True)
class ReplaceToken:
    """Replace the account's token with another one made by the client. The old token stops working."""

    token: str = attrs.field(repr=False, validator=_token)


@attrs.frozen(kw_only=True)
class HistoryQuery:
    """A request for the account's transfers, newest first; only those older than the entry at position ``before``, if
    it is given."""

    before: int | None = attrs.field(default=None, validator=v.optional(v.and_(v.ge(1), v.lt(1 << 63))))
    limit: int = attrs.field(default=100, validator=[v.ge(1), v.le(MAX_HISTORY)])


@attrs.frozen(kw_only=True)
class HistoryEntry:
    """One transfer at the time ``at`` (Unix seconds): a ``change`` in credits and the resulting ``balance``. ``text``
    explains it."""

    position: int
    at: float
    change: int
    balance: int
    reason: Reason
    task: str | None
    text: str


@attrs.frozen(kw_only=True)
class History:
    """Transfers of one account, newest first. ``more`` is true if there are older ones."""

    entries: tuple[HistoryEntry, ...]
    more: bool
