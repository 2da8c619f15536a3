"""Rows that travel packed: only where that is worth it, and never more of them than was announced."""

from __future__ import annotations

import zlib
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec262.domain.errors import ProtocolViolation
from ec262.domain.work.packing import LEAST_BYTES, pack, unpack

TEXT = b'["some key","and some text that comes again"],' * 2000


def test_packed_data_are_smaller_and_are_restored() -> None:
    packed = pack(TEXT)
    assert packed is not None
    assert len(packed) < len(TEXT) / 10
    assert unpack(packed, len(TEXT)) == TEXT


@pytest.mark.parametrize("data", [b"", b"x" * (LEAST_BYTES - 1), Random(1).randbytes(300_000)])
def test_data_that_do_not_shrink_are_not_packed(data: bytes) -> None:
    assert pack(data) is None


def test_a_sample_may_mislead_but_nothing_grows() -> None:
    random = Random(1).randbytes(1 << 20)
    assert pack(random + bytes(64 << 10) + random) is None or len(zlib.compress(random)) > len(random)
    packed = pack(random + bytes(1 << 21) + random)
    assert packed is not None
    assert len(packed) < 5 << 20


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"no packed data",
        zlib.compress(TEXT)[:-1],
        zlib.compress(TEXT) + b"x",
        zlib.compress(TEXT[1:]),
        zlib.compress(TEXT + b"x"),
        zlib.compress(bytes(1 << 28), 9),
    ],
    ids=["empty", "other", "cut short", "followed", "too little", "too much", "bomb"],
)
def test_work_that_differs_from_its_announcement_is_refused(packed: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        unpack(packed, len(TEXT))


@given(st.binary(max_size=200), st.integers(1, 1000))
def test_nothing_but_that_goes_wrong(packed: bytes, size: int) -> None:
    with suppress(ProtocolViolation):
        assert len(unpack(packed, size)) == size
