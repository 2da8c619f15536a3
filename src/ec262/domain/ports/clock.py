"""Time and randomness, as arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")

Clock = Callable[[], float]
"""Seconds since the Unix epoch."""


class Entropy(Protocol):
    """Unpredictable choices: a cryptographic source in production, a seeded one in simulations."""

    def token(self, size_bytes: int) -> bytes:
        """Return ``size_bytes`` bytes that nobody can guess."""
        ...

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in an order that nobody can guess."""
        ...
