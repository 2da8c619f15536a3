"""Unpredictable choices from the operating system's generator."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_SORT_KEY_BYTES = 16
"""Two equal sort keys would bias an order: at 128 bits that never happens."""


class SystemEntropy:
    """The cryptographic source."""

    def token(self, size_bytes: int) -> bytes:
        """Return ``size_bytes`` bytes that nobody can guess."""
        return secrets.token_bytes(size_bytes)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in an order that nobody can guess, with one call to the generator."""
        noise = secrets.token_bytes(_SORT_KEY_BYTES * len(items))
        keys = [noise[start : start + _SORT_KEY_BYTES] for start in range(0, len(noise), _SORT_KEY_BYTES)]
        return [items[index] for index in sorted(range(len(items)), key=keys.__getitem__)]
