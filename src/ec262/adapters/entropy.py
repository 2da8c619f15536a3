"""Unpredictable bytes from the operating system's generator."""

from __future__ import annotations

import secrets


class SystemEntropy:
    """The cryptographic source."""

    def token(self, size_bytes: int) -> bytes:
        """Return ``size_bytes`` bytes that nobody can guess."""
        return secrets.token_bytes(size_bytes)
