"""Accounts, the tokens that open them, and the invitations that bring credits."""

from __future__ import annotations

import attrs

from ec262.domain.errors import AccountFrozen, InvitationRefused


@attrs.frozen(kw_only=True)
class Account:
    """Someone known to discovery. ``owner`` groups the accounts of one person, as far as the operator knows; a
    ``frozen`` one may look, and nothing else."""

    id: str
    opened_at: float
    owner: str
    frozen: bool = False

    def check_active(self) -> None:
        """Raise AccountFrozen if the account may only look."""
        if self.frozen:
            raise AccountFrozen("the operator has frozen this account")


@attrs.frozen(kw_only=True)
class Invitation:
    """A code that brings ``credits`` to ``uses_left`` more accounts, which then belong to ``owner`` (empty: to
    themselves). Of the code only the digest is kept."""

    id: str
    code_digest: bytes = attrs.field(repr=False)
    credits: int = attrs.field(validator=attrs.validators.ge(1))
    uses_left: int = attrs.field(validator=attrs.validators.ge(0))
    owner: str = ""
    expires_at: float | None = None

    def redeemed(self, *, now: float) -> Invitation:
        """Return what is left of it after one more use. Raises InvitationRefused."""
        if self.uses_left == 0 or (self.expires_at is not None and now >= self.expires_at):
            raise unknown_invitation()
        return attrs.evolve(self, uses_left=self.uses_left - 1)


def unknown_invitation() -> InvitationRefused:
    """The one answer for codes that never existed, are used up or ran out."""
    return InvitationRefused("this invitation does not exist, is used up or has expired")
