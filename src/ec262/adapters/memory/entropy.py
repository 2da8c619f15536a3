"""Repeatable choices: the same seed gives the same tokens. For tests and simulations only."""

from __future__ import annotations

import random


class SeededEntropy:
    """The twin of the cryptographic source. Its output can be computed from the seed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable is the point

    def token(self, size_bytes: int) -> bytes:
        """Return the next ``size_bytes`` bytes."""
        return self._random.randbytes(size_bytes)
