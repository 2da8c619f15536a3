"""What account holders ask of the discovery service, and what it answers; see
``ec262.domain.protocol.foreman_calls``."""

from __future__ import annotations

import attrs
from attrs import validators as v

from ec262.domain.protocol.reason import Reason
from ec262.domain.protocol.token import TOKEN_PATTERN

MAX_HISTORY = 1000

_token = v.matches_re(TOKEN_PATTERN)


@attrs.frozen(kw_only=True)
class OpenAccount:
    """Open the account of the token, or find it again. An ``invitation`` brings its credits, once an account."""

    invitation: str | None = attrs.field(default=None, repr=False, validator=v.optional(_token))


@attrs.frozen(kw_only=True)
class AccountStatus:
    """An account and its balance in credits. ``escrow`` is what its ``open_tasks`` hold; ``reports`` counts the foremen
    who said that it won and did not deliver. A ``frozen`` account may look, and nothing else."""

    account: str
    credits: int
    escrow: int
    open_tasks: int
    reports: int
    frozen: bool


@attrs.frozen(kw_only=True)
class ReplaceToken:
    """From now on the account is opened by another token, made by the client as the first was."""

    token: str = attrs.field(repr=False, validator=_token)


@attrs.frozen(kw_only=True)
class HistoryQuery:
    """Ask for the account's movements, newest first; ``before`` is the position of an entry already seen."""

    before: int | None = attrs.field(default=None, validator=v.optional(v.and_(v.ge(1), v.lt(1 << 63))))
    limit: int = attrs.field(default=100, validator=[v.ge(1), v.le(MAX_HISTORY)])


@attrs.frozen(kw_only=True)
class HistoryEntry:
    """One movement: ``change`` credits at ``at`` (Unix seconds), which left ``balance``; ``text`` explains it."""

    position: int
    at: float
    change: int
    balance: int
    reason: Reason
    task: str | None
    text: str


@attrs.frozen(kw_only=True)
class History:
    """Movements of one account, newest first; ``more`` says that there are older ones."""

    entries: tuple[HistoryEntry, ...]
    more: bool
