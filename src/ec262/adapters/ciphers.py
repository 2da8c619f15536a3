"""Ciphers for results."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ec262.domain.errors import BadDelivery, ConfigurationError

TAG_BYTES = 16


class AesSivCipher:
    """AES-128-SIV (RFC 5297): deterministic, so that equal results have equal ciphertexts, and safe to use so.

    A ciphertext is the 16-byte tag (the synthetic IV) followed by the body, as long as the plaintext. The associated
    data are the vector (label, task, work hash), the first two in UTF-8.
    """

    key_bytes = 32
    """Two AES-128 keys: one for the tag, one for the body."""

    def encrypt(self, plaintext: bytes, *, key: bytes, task: str, label: str, work: bytes) -> bytes:
        """Encrypt; ``task``, ``label`` and ``work`` are authenticated.

        Raises ConfigurationError if the key has another size.
        """
        if len(key) != self.key_bytes:
            raise ConfigurationError(
                f"the task's key has {len(key)} bytes and this cipher needs {self.key_bytes}: "
                "the discovery service is set up for another one"
            )
        return AESSIV(key).encrypt(plaintext, _associated(task=task, label=label, work=work))

    def decrypt(self, ciphertext: bytes, *, key: bytes, task: str, label: str, work: bytes) -> bytes:
        """Undo ``encrypt``. Raises BadDelivery if any argument is not what it was encrypted with."""
        if len(key) != self.key_bytes or len(ciphertext) < TAG_BYTES:
            raise BadDelivery(f"the {label} is too short, or the key of the wrong size")
        try:
            return AESSIV(key).decrypt(ciphertext, _associated(task=task, label=label, work=work))
        except InvalidTag as error:
            raise BadDelivery(f"the {label} cannot be opened with the task's key as a result of its work") from error


def _associated(*, task: str, label: str, work: bytes) -> list[bytes]:
    return [label.encode(), task.encode(), work]
