"""Deterministic, authenticated encryption of results."""

from __future__ import annotations

from typing import Protocol

from ec262.domain.work.work_hash import WorkBinding


class Cipher(Protocol):
    """Ciphertexts are equal if and only if plaintext, key, task, label and work are all equal.

    ``key`` is discovery's half of the key; the nonce in ``work`` is the foreman's.
    """

    @property
    def key_bytes(self) -> int:
        """The size of a key."""
        ...

    def encrypt(self, plaintext: bytes, *, key: bytes, task: str, label: str, work: WorkBinding) -> bytes:
        """Encrypt a plaintext. ``task``, ``label`` ("result", "log") and ``work`` are authenticated but not hidden."""
        ...

    def decrypt(self, ciphertext: bytes, *, key: bytes, task: str, label: str, work: WorkBinding) -> bytes:
        """Reverse ``encrypt``. Raises BadDelivery if any argument differs from the one used to encrypt."""
        ...
