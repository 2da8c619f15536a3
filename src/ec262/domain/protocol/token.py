"""The bearer tokens that open accounts."""

from __future__ import annotations

import hashlib
import re

from ec262.domain.errors import NotAuthenticated

TOKEN_PATTERN = r"[A-Za-z0-9._~+/=-]{32,256}"  # noqa: S105 - a pattern, no token
"""32 URL-safe Base64 characters hold 192 bits: nobody guesses one, and an unsalted hash of it cannot be searched."""


def token_digest(token: str) -> bytes:
    """Return the SHA-256 that stands for a bearer token. Raises NotAuthenticated if it is too short or malformed."""
    if not re.fullmatch(TOKEN_PATTERN, token):
        raise NotAuthenticated("a token is 32 to 256 characters out of letters, digits and ._~+/=-")
    return hashlib.sha256(token.encode()).digest()
