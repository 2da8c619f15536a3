"""Accounts, the tokens that open them, and the invitations that bring credits."""

from __future__ import annotations

import attrs

from ec262.domain.errors import AccountFrozen, InvitationRefused


@attrs.frozen(kw_only=True)
class Account:
    """An account at discovery. ``owner`` groups the accounts of one person, as far as the operator knows. A ``frozen``
    account can only read."""

    id: str
    opened_at: float
    owner: str
    frozen: bool = False

    def check_active(self) -> None:
        """Raise AccountFrozen if the account is frozen."""
        if self.frozen:
            raise AccountFrozen("the operator has frozen this account")


@attrs.frozen(kw_only=True)
class Invitation:
    """A code that brings ``credits`` to each of ``uses_left`` more accounts, which then belong to ``owner`` (empty:
    each to itself). Only the digest of the code is stored."""

    id: str
    code_digest: bytes = attrs.field(repr=False)
    credits: int = attrs.field(validator=attrs.validators.ge(1))
    uses_left: int = attrs.field(validator=attrs.validators.ge(0))
    owner: str = ""
    expires_at: float | None = None

    def redeemed(self, *, now: float) -> Invitation:
        """Return the invitation after one more use. Raises InvitationRefused."""
        if self.uses_left == 0 or (self.expires_at is not None and now >= self.expires_at):
            raise unknown_invitation()
        return attrs.evolve(self, uses_left=self.uses_left - 1)


def unknown_invitation() -> InvitationRefused:
    """Return the same error for codes that never existed, are used up or have expired."""
    return InvitationRefused("this invitation does not exist, is used up or has expired")
