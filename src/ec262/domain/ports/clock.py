"""Time and randomness, as arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Clock = Callable[[], float]
"""Seconds: since the Unix epoch at discovery, which writes them down; elsewhere from any start, never set back."""


class Entropy(Protocol):
    """Unpredictable bytes: a cryptographic source in production, a seeded one in simulations."""

    def token(self, size_bytes: int) -> bytes:
        """Return ``size_bytes`` bytes that nobody can guess."""
        ...
