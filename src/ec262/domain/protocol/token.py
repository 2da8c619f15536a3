"""The bearer tokens that open accounts."""

from __future__ import annotations

import hashlib
import re

from ec262.domain.errors import NotAuthenticated

TOKEN_PATTERN = r"[A-Za-z0-9._~+/=-]{32,256}"  # noqa: S105 - a pattern, not a token
"""32 URL-safe Base64 characters have 192 bits, so a token cannot be guessed, nor found from its unsalted hash."""


def token_digest(token: str) -> bytes:
    """Return the SHA-256 that is stored for a bearer token. Raises NotAuthenticated if the token is malformed."""
    if not re.fullmatch(TOKEN_PATTERN, token):
        raise NotAuthenticated("a token must have 32 to 256 characters: letters, digits and ._~+/=-")
    return hashlib.sha256(token.encode()).digest()
