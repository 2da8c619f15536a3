"""Time and randomness, which are passed as arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Clock = Callable[[], float]
"""Returns seconds: since the Unix epoch at discovery, which stores them; elsewhere from any start, never going back."""


class Entropy(Protocol):
    """Unpredictable bytes: a cryptographic source in production, a seeded one in simulations."""

    def token(self, size_bytes: int) -> bytes:
        """Return ``size_bytes`` unpredictable bytes."""
        ...
