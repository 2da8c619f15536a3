"""Deterministic, authenticated encryption of results."""

from __future__ import annotations

from typing import Protocol

from ec262.domain.work.work_hash import WorkBinding


class Cipher(Protocol):
    """Equal plaintexts under one key, task, label and work give equal ciphertexts; nothing else does.

    ``key`` is discovery's half of the key; the nonce in ``work`` is the foreman's.
    """

    @property
    def key_bytes(self) -> int:
        """The size of a key."""
        ...

    def encrypt(self, plaintext: bytes, *, key: bytes, task: str, label: str, work: WorkBinding) -> bytes:
        """Encrypt; ``task``, ``label`` ("result", "log") and ``work`` are authenticated, not hidden."""
        ...

    def decrypt(self, ciphertext: bytes, *, key: bytes, task: str, label: str, work: WorkBinding) -> bytes:
        """Undo ``encrypt``. Raises BadDelivery if any argument is not what it was encrypted with."""
        ...
