"""Accounts and the tokens that open them."""

from __future__ import annotations

import hashlib
import re

import attrs

from ec262.domain.errors import NotAuthenticated

MIN_TOKEN_CHARS, MAX_TOKEN_CHARS = 32, 256
"""32 URL-safe Base64 characters hold 192 bits: nobody guesses one, and an unsalted hash of it cannot be searched."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


@attrs.frozen(kw_only=True)
class Account:
    """Someone known to discovery. ``token_digest`` is all that is kept of the token that its owner made."""

    id: str
    token_digest: bytes = attrs.field(repr=False)
    opened_at: float


def token_digest(token: str) -> bytes:
    """Return the SHA-256 that stands for a bearer token. Raises NotAuthenticated if it is too short or malformed."""
    if not MIN_TOKEN_CHARS <= len(token) <= MAX_TOKEN_CHARS or not _TOKEN.fullmatch(token):
        raise NotAuthenticated(
            f"a token is {MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS} characters out of letters, digits and ._~+/=-"
        )
    return hashlib.sha256(token.encode()).digest()
