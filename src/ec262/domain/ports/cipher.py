"""Deterministic, authenticated encryption of results."""

from __future__ import annotations

from typing import Protocol


class Cipher(Protocol):
    """Equal plaintexts under one key, task, label and work give equal ciphertexts; nothing else does."""

    @property
    def key_bytes(self) -> int:
        """The size of a key."""
        ...

    def encrypt(self, plaintext: bytes, *, key: bytes, task: str, label: str, work: bytes) -> bytes:
        """Encrypt; ``task``, ``label`` ("result", "log") and ``work`` (the work hash) are authenticated, not hidden."""
        ...

    def decrypt(self, ciphertext: bytes, *, key: bytes, task: str, label: str, work: bytes) -> bytes:
        """Undo ``encrypt``. Raises BadDelivery if any argument is not what it was encrypted with."""
        ...
