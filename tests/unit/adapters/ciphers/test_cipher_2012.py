"""The cipher of 2012: the vector, what it can tell, and what it cannot."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from ec262.adapters.ciphers.cipher_2012 import Cipher2012
from ec262.domain.errors import ConfigurationError
from ec262.domain.legacy_2012.results_2012 import decode_result, encode_result
from ec262.domain.work.work_hash import WorkBinding

KEY = b"0123456789abcdef"
VECTOR = b"867UljB99QElUw+tVvCj+58BvCEmRxZFv4T4z7iK8so="


WORK = WorkBinding(work_hash=b"w" * 32, nonce=b"n" * 32)
OTHER_WORK = WorkBinding(work_hash=bytes(32), nonce=bytes(32))


def encrypt(plaintext: bytes, key: bytes = KEY) -> bytes:
    return Cipher2012().encrypt(plaintext, key=key, task="7", label="result", work=WORK)


def decrypt(ciphertext: bytes, key: bytes = KEY) -> bytes:
    return Cipher2012().decrypt(ciphertext, key=key, task="7", label="result", work=WORK)


def test_the_vector_of_2012() -> None:
    assert encrypt(encode_result({"b": 2, "a": 1})) == VECTOR
    assert decode_result(decrypt(VECTOR)) == {"a": 1, "b": 2}


@pytest.mark.parametrize(("size", "blocks"), [(0, 1), (1, 1), (15, 1), (16, 2), (17, 2), (31, 2), (32, 3)])
def test_there_are_1_to_16_spaces_of_padding(size: int, blocks: int) -> None:
    reader = Cipher(algorithms.AES128(KEY), modes.CBC(bytes(16))).decryptor()
    ciphertext = encrypt(b"x" * size)
    assert reader.update(base64.b64decode(ciphertext)) == b"x" * size + b" " * (16 * blocks - size)
    assert decrypt(ciphertext) == b"x" * size


@given(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=40), max_size=5),
    st.binary(min_size=16, max_size=16),
)
def test_results_come_back(result: dict[str, int | str], key: bytes) -> None:
    assert decode_result(decrypt(encrypt(encode_result(result), key), key)) == result


def test_a_space_at_the_end_is_refused_rather_than_lost() -> None:
    with pytest.raises(ConfigurationError, match="space at the end"):
        encrypt(b"text ")


def test_a_task_and_a_label_make_no_difference() -> None:
    assert Cipher2012().encrypt(b"x", key=KEY, task="8", label="log", work=OTHER_WORK) == encrypt(b"x")


def test_it_has_no_integrity() -> None:
    """Who flips a bit of a block flips that bit of the text after it, unnoticed: not a promise, but the truth."""
    blocks = bytearray(base64.b64decode(encrypt(b"x" * 16 + b'["credits", 1]')))
    blocks[13 - 1] ^= ord("1") ^ ord("9")
    assert decrypt(base64.b64encode(bytes(blocks)))[16:] == b'["credits", 9]'
