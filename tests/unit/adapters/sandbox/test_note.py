"""The note of what a task is at, which a worker reads from memory that a stranger may have written."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ec262.adapters.sandbox.note import NOTE_BYTES, note_in, read_note
from ec262.domain.values import canonical
from ec262.domain.work.roles import ROLES
from tests.property.canonical_values import hashables


def noted(function: str, key: bytes) -> str:
    memory = bytearray(NOTE_BYTES)
    note = note_in(memoryview(memory))
    note(b"mapper", b"x" * 1000)
    note(function.encode(), key)
    return read_note(bytes(memory))


@pytest.mark.parametrize("function", ROLES)
def test_function_and_row_are_reported(function: str) -> None:
    assert noted(function, canonical.encode("a\nb")) == f"in the {function} at the row with key 'a\\nb'"
    assert noted(function, canonical.encode(("f.txt", 7))) == f"in the {function} at the row with key ('f.txt', 7)"
    assert noted(function, b"") == f"after the {function}'s last row"


def test_before_the_first_row() -> None:
    assert read_note(bytes(NOTE_BYTES)) == "while the job was loaded"


def test_a_long_key_is_shown_truncated() -> None:
    told = noted("mapper", canonical.encode("x" * 1000))
    assert told == 'in the mapper at the row with key "' + "x" * 242 + "..."


@settings(max_examples=40)
@given(hashables)
def test_any_key(key: object) -> None:
    assert noted("reducer", canonical.encode(key)).startswith("in the reducer at the row with key ")


@given(st.binary(min_size=NOTE_BYTES, max_size=NOTE_BYTES))
def test_anything_is_read_and_stays_short(data: bytes) -> None:
    assert len(read_note(data)) < 1000


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (struct.pack("12p244p", b"evil", b"1"), ""),
        (struct.pack("12p244p", b"\xff\x00", b"1"), ""),
        (struct.pack("12p244p", b"mapper", b"\xff{not json"), "in the mapper at the row with key \ufffd{not json"),
        (b"\xff" * NOTE_BYTES, ""),
    ],
)
def test_forged_notes(data: bytes, told: str) -> None:
    assert read_note(data) == told
