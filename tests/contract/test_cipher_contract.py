"""What every cipher for results must do, what those with integrity do beyond it, and that AES-SIV is RFC 5297's."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given
from hypothesis import strategies as st

from ec262.adapters.ciphers.aes_siv import AesSivCipher
from ec262.adapters.ciphers.cipher_2012 import Cipher2012
from ec262.domain.errors import BadDelivery, ConfigurationError
from ec262.domain.ports.cipher import Cipher
from ec262.domain.work.work_hash import WorkBinding

KEY = bytes(range(32))
TASK = "task-0001"
WORK = WorkBinding(work_hash=bytes(range(100, 132)), nonce=bytes(range(200, 232)))
OTHER_WORK = attrs.evolve(WORK, work_hash=bytes(32))
OTHER_NONCE = attrs.evolve(WORK, nonce=bytes(32))


@pytest.fixture(params=[AesSivCipher, Cipher2012])
def any_cipher(request: pytest.FixtureRequest) -> Cipher:
    made: Cipher = request.param()
    return made


@pytest.fixture(params=[AesSivCipher])
def cipher(request: pytest.FixtureRequest) -> Cipher:
    """One with integrity: all but that of 2012."""
    made: Cipher = request.param()
    return made


@pytest.mark.parametrize("plaintext", [b"", b"x", b"x" * 15, b"x" * 16, b"x" * 17, bytes(100_000)])
def test_encrypted_data_can_be_decrypted(any_cipher: Cipher, plaintext: bytes) -> None:
    key = KEY[: any_cipher.key_bytes]
    ciphertext = any_cipher.encrypt(plaintext, key=key, task=TASK, label="result", work=WORK)
    assert any_cipher.decrypt(ciphertext, key=key, task=TASK, label="result", work=WORK) == plaintext
    assert len(plaintext) < len(ciphertext) <= 4 / 3 * len(plaintext) + 64
    assert len(plaintext) < 15 or plaintext not in ciphertext


def test_equal_texts_under_equal_keys_give_equal_ciphertexts_and_others_do_not(any_cipher: Cipher) -> None:
    keys = [KEY[: any_cipher.key_bytes], KEY[::-1][: any_cipher.key_bytes]]

    def encrypt_all() -> list[bytes]:
        return [
            any_cipher.encrypt(plain, key=key, task=TASK, label="result", work=WORK)
            for plain in (b"plain", b"plaim", b"plain" * 9)
            for key in keys
        ]

    assert encrypt_all() == encrypt_all()
    assert len(set(encrypt_all())) == 6


def test_equal_arguments_give_equal_ciphertexts_and_others_do_not(cipher: Cipher) -> None:
    arguments = [
        (b"plain", KEY, TASK, "result", WORK),
        (b"plaim", KEY, TASK, "result", WORK),
        (b"plain", KEY[::-1], TASK, "result", WORK),
        (b"plain", KEY, "task-0002", "result", WORK),
        (b"plain", KEY, TASK, "log", WORK),
        (b"plain", KEY, f"result{TASK}", "", WORK),
        (b"plain", KEY, TASK, "result", OTHER_WORK),
        (b"plain", KEY, TASK, "result", OTHER_NONCE),
    ]

    def encrypt_all() -> list[bytes]:
        return [
            cipher.encrypt(plain, key=key, task=task, label=label, work=work)
            for plain, key, task, label, work in arguments
        ]

    assert encrypt_all() == encrypt_all()
    assert len(set(encrypt_all())) == len(arguments)


def test_any_other_argument_is_a_bad_delivery(cipher: Cipher) -> None:
    ciphertext = cipher.encrypt(b"plain", key=KEY, task=TASK, label="result", work=WORK)
    for key, task, label, work in (
        (KEY[::-1], TASK, "result", WORK),
        (KEY, "task-0002", "result", WORK),
        (KEY, TASK, "log", WORK),
        (KEY, TASK, "result", OTHER_WORK),
        (KEY, TASK, "result", OTHER_NONCE),
    ):
        with pytest.raises(BadDelivery):
            cipher.decrypt(ciphertext, key=key, task=task, label=label, work=work)


def test_any_changed_byte_is_a_bad_delivery(cipher: Cipher) -> None:
    ciphertext = cipher.encrypt(b"plain", key=KEY, task=TASK, label="result", work=WORK)
    for position in range(len(ciphertext)):
        changed = bytearray(ciphertext)
        changed[position] ^= 1
        with pytest.raises(BadDelivery):
            cipher.decrypt(bytes(changed), key=KEY, task=TASK, label="result", work=WORK)


@pytest.mark.parametrize("ciphertext", [b"", b"short", bytes(16), bytes(100), b"AAAA", b"A" * 24 + b"\xff", b"A" * 23])
def test_a_delivery_that_is_not_ciphertext_is_bad(any_cipher: Cipher, ciphertext: bytes) -> None:
    with pytest.raises(BadDelivery):
        any_cipher.decrypt(ciphertext, key=KEY[: any_cipher.key_bytes], task=TASK, label="result", work=WORK)


def test_a_key_of_the_wrong_size_is_reported(any_cipher: Cipher) -> None:
    ciphertext = any_cipher.encrypt(b"plain", key=KEY[: any_cipher.key_bytes], task=TASK, label="result", work=WORK)
    for key in (b"", KEY[: any_cipher.key_bytes - 1], KEY + b"x"):
        with pytest.raises(ConfigurationError):
            any_cipher.encrypt(b"plain", key=key, task=TASK, label="result", work=WORK)
        with pytest.raises(BadDelivery):
            any_cipher.decrypt(ciphertext, key=key, task=TASK, label="result", work=WORK)


# --- AES-SIV --------------------------------------------------------------------------------------------------------


def test_the_driver_computes_the_vector_of_rfc_5297_a_1() -> None:
    cipher = AESSIV(bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"))
    associated = bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627")
    ciphertext = cipher.encrypt(bytes.fromhex("112233445566778899aabbccddee"), [associated])
    assert ciphertext.hex() == "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"


def test_the_driver_computes_the_vector_of_rfc_5297_a_2() -> None:
    cipher = AESSIV(bytes.fromhex("7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f"))
    associated = [
        bytes.fromhex("00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100"),
        bytes.fromhex("102030405060708090a0"),
        bytes.fromhex("09f911029d74e35bd84156c5635688c0"),  # the nonce is the last of them
    ]
    ciphertext = cipher.encrypt(b"this is some plaintext to encrypt using SIV-AES", associated)
    assert ciphertext.hex() == (
        "7bdb6e3b432667eb06f4d14bff2fbd0f"
        "cb900f2fddbe404326601965c889bf17dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d"
    )


@given(
    st.binary(max_size=200),
    st.binary(min_size=32, max_size=32),
    st.text("abcXYZ019_-", min_size=1, max_size=64),
    st.sampled_from(["result", "log"]),
    st.builds(WorkBinding, work_hash=st.binary(min_size=32, max_size=32), nonce=st.binary(min_size=32, max_size=32)),
)
def test_an_independent_implementation_gives_the_same(
    plaintext: bytes, key: bytes, task: str, label: str, work: WorkBinding
) -> None:
    info = b"ec262 result key 1\0" + task.encode() + b"\0" + work.work_hash
    derived: Any = HKDF(key, 32, work.nonce, SHA256, context=info)
    other = AES.new(derived, AES.MODE_SIV)
    other.update(label.encode())
    other.update(task.encode())
    other.update(work.work_hash)
    body, tag = other.encrypt_and_digest(plaintext)
    assert AesSivCipher().encrypt(plaintext, key=key, task=task, label=label, work=work) == tag + body
    assert AesSivCipher().decrypt(tag + body, key=key, task=task, label=label, work=work) == plaintext


def test_the_format_of_ciphertexts_stays() -> None:
    ciphertext = AesSivCipher().encrypt(b'[["a",1]]', key=KEY, task=TASK, label="result", work=WORK)
    assert ciphertext.hex() == "14217bf153dc27798cac628010a513367c40caaea01d73124a"
