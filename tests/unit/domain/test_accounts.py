from __future__ import annotations

import hashlib

import pytest

from ec262.domain.accounts import Account, token_digest
from ec262.domain.errors import NotAuthenticated


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


def test_an_account_does_not_print_its_digest() -> None:
    account = Account(id="account-1", token_digest=token_digest("x" * 32), opened_at=0)
    assert "digest" not in repr(account)
