from __future__ import annotations

import hashlib

import pytest

from ec262.domain.discovery.accounts import Account, Invitation, unknown_invitation
from ec262.domain.errors import AccountFrozen, InvitationRefused, NotAuthenticated
from ec262.domain.protocol.token import token_digest


def test_a_token_is_known_by_its_sha256() -> None:
    token = "abcDEF012-_~.+/=" * 2
    assert token_digest(token) == hashlib.sha256(token.encode()).digest()


@pytest.mark.parametrize("token", ["", "a" * 31, "a" * 257, "a" * 31 + " ", "a" * 32 + "\n", "é" * 32])
def test_weak_or_malformed_tokens_are_refused(token: str) -> None:
    with pytest.raises(NotAuthenticated, match="32 to 256 characters"):
        token_digest(token)


@pytest.mark.parametrize("token", ["a" * 32, "a" * 256])
def test_the_limits_belong_to_the_allowed_lengths(token: str) -> None:
    assert len(token_digest(token)) == 32


def test_a_frozen_account_is_not_active() -> None:
    Account(id="account-1", opened_at=0, owner="me").check_active()
    with pytest.raises(AccountFrozen):
        Account(id="account-1", opened_at=0, owner="me", frozen=True).check_active()


# --- invitations ----------------------------------------------------------------------------------------------------


def invitation(*, credits: int = 5, uses_left: int = 2, expires_at: float | None = None) -> Invitation:
    return Invitation(
        id="invitation-1", code_digest=b"topsecret", credits=credits, uses_left=uses_left, expires_at=expires_at
    )


def test_an_invitation_is_used_up() -> None:
    once = invitation().redeemed(now=0)
    twice = once.redeemed(now=0)
    assert (once.uses_left, twice.uses_left) == (1, 0)
    with pytest.raises(InvitationRefused):
        twice.redeemed(now=0)


def test_an_invitation_runs_out() -> None:
    assert invitation(expires_at=10).redeemed(now=9.9).uses_left == 1
    with pytest.raises(InvitationRefused):
        invitation(expires_at=10).redeemed(now=10)


def test_a_used_up_invitation_reads_like_one_that_never_was() -> None:
    with pytest.raises(InvitationRefused) as used_up:
        invitation(uses_left=0).redeemed(now=0)
    assert str(used_up.value) == str(unknown_invitation())


@pytest.mark.parametrize("limits", [{"credits": 0}, {"uses_left": -1}])
def test_an_invitation_brings_something(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=">="):
        invitation(**limits)


def test_an_invitation_does_not_print_its_code() -> None:
    assert "topsecret" not in repr(invitation())
