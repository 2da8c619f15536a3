"""Ciphers for results."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ec262.domain.errors import BadDelivery, ConfigurationError
from ec262.domain.work.work_hash import WorkBinding

TAG_BYTES = 16

INFO = b"ec262 result key 1"
"""What HKDF derives, apart from anything else that somebody might derive from these halves."""


class AesSivCipher:
    """AES-128-SIV (RFC 5297): deterministic, so that equal results have equal ciphertexts, and safe to use so.

    A ciphertext is the 16-byte tag (the synthetic IV) followed by the body, as long as the plaintext. The associated
    data are the vector (label, task, work hash), the first two in UTF-8. The key is HKDF-SHA-256 of discovery's key,
    with the foreman's nonce as salt, and task and work hash as info.
    """

    key_bytes = 32
    """Two AES-128 keys: one for the tag, one for the body."""

    def encrypt(self, plaintext: bytes, *, key: bytes, task: str, label: str, work: WorkBinding) -> bytes:
        """Encrypt; ``task``, ``label`` and ``work`` are authenticated.

        Raises ConfigurationError if the key has another size.
        """
        if len(key) != self.key_bytes:
            raise ConfigurationError(
                f"the task's key has {len(key)} bytes and this cipher needs {self.key_bytes}: "
                "the discovery service is configured for a different cipher"
            )
        return AESSIV(_result_key(key, task, work)).encrypt(plaintext, _associated(task=task, label=label, work=work))

    def decrypt(self, ciphertext: bytes, *, key: bytes, task: str, label: str, work: WorkBinding) -> bytes:
        """Undo ``encrypt``. Raises BadDelivery if any argument is not what it was encrypted with."""
        if len(key) != self.key_bytes or len(ciphertext) < TAG_BYTES:
            raise BadDelivery(f"the {label} is too short, or the key has the wrong size")
        try:
            return AESSIV(_result_key(key, task, work)).decrypt(
                ciphertext, _associated(task=task, label=label, work=work)
            )
        except InvalidTag as error:
            raise BadDelivery(f"the {label} cannot be opened with the task's key as a result of its work") from error


def _result_key(key: bytes, task: str, work: WorkBinding) -> bytes:
    """Derive the key of a task's results from discovery's half and the foreman's (RFC 5869)."""
    info = b"\0".join((INFO, *_bound_to(task, work)))
    return HKDF(algorithm=SHA256(), length=len(key), salt=work.nonce, info=info).derive(key)


def _associated(*, task: str, label: str, work: WorkBinding) -> list[bytes]:
    return [label.encode(), *_bound_to(task, work)]


def _bound_to(task: str, work: WorkBinding) -> tuple[bytes, ...]:
    return task.encode(), work.work_hash
