"""The cipher that peers of 2012 speak."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from Crypto.Cipher import AES

from ec262.domain.errors import BadDelivery, ConfigurationError
from ec262.domain.work.work_hash import WorkBinding

BLOCK_BYTES = 16


class Cipher2012:
    """AES-128-CBC with an IV of zeros, the text padded with 1 to 16 spaces, the whole in standard Base64.

    It is there for old peers, and is not the default, because it has **no integrity**. Whoever can change a ciphertext
    can change what it decrypts to. Task, label and work are bound to nothing, and any ciphertext whose plaintext ends
    in a space is accepted. Texts that begin alike have ciphertexts that begin alike. Only the comparison of results
    keeps wrong ones out.
    """

    key_bytes = 16

    def encrypt(self, plaintext: bytes, *, key: bytes, task: str, label: str, work: WorkBinding) -> bytes:  # noqa: ARG002 - the port has them
        """Encrypt; ``task``, ``label`` and ``work`` make no difference.

        Raises ConfigurationError if the key has another size, or if the text ends in a space, which padding would
        swallow: JSON never does.
        """
        if len(key) != self.key_bytes:
            raise ConfigurationError(
                f"the task's key has {len(key)} bytes and the cipher of 2012 needs {self.key_bytes}: "
                "the discovery service is configured for a different cipher"
            )
        if plaintext.endswith(b" "):
            raise ConfigurationError("the cipher of 2012 cannot keep a space at the end of a text: use another one")
        padding = b" " * (BLOCK_BYTES - len(plaintext) % BLOCK_BYTES)
        return base64.b64encode(_cbc(key).encrypt(plaintext + padding))

    def decrypt(self, ciphertext: bytes, *, key: bytes, task: str, label: str, work: WorkBinding) -> bytes:  # noqa: ARG002 - the port has them
        """Undo ``encrypt``. Raises BadDelivery if it can tell that this is not what was encrypted: see the class."""
        try:
            blocks = base64.b64decode(ciphertext, validate=True)
        except binascii.Error as error:
            raise BadDelivery("the ciphertext is not Base64") from error
        if len(key) != self.key_bytes or not blocks or len(blocks) % BLOCK_BYTES:
            raise BadDelivery("the ciphertext has no whole blocks, or the key has the wrong size")
        padded: bytes = _cbc(key).decrypt(blocks)
        plaintext = padded.rstrip(b" ")
        if not 1 <= len(padded) - len(plaintext) <= BLOCK_BYTES:
            raise BadDelivery("the ciphertext cannot be opened with the task's key")
        return plaintext


def _cbc(key: bytes) -> Any:
    return AES.new(key, AES.MODE_CBC, iv=bytes(BLOCK_BYTES))
