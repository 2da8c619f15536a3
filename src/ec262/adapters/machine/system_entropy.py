"""Unpredictable bytes from the operating system's generator."""

from __future__ import annotations

import os


class SystemEntropy:
    """The cryptographic source."""

    def token(self, size_bytes: int) -> bytes:
        """Return ``size_bytes`` bytes that cannot be guessed."""
        return os.urandom(size_bytes)
