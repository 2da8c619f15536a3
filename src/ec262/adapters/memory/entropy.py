"""Repeatable choices: the same seed gives the same tokens and orders. For tests and simulations only."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class SeededEntropy:
    """The twin of the cryptographic source. Anybody who knows the seed knows everything."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable is the point

    def token(self, size_bytes: int) -> bytes:
        """Return the next ``size_bytes`` bytes."""
        return self._random.randbytes(size_bytes)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in the next order."""
        return self._random.sample(items, len(items))
