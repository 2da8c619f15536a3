"""Key and value: what rows, a task's output and a job's result are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ec262.domain import canonical
from ec262.domain.errors import NotCanonical, ValueNotEncodable, key_text

Pair = tuple[Any, Any]

AROUND = 3
"""Containers around a key or value when it travels, as in ``["pairs",[[key,value]]]`` or ``[[key,[value]]]``."""

MAX_NUMBER_BITS = 63
"""A partitioner's numbers are signed, and of so many bits beside the sign."""

NUMBER_BYTES = 16
"""What ``number_bytes`` takes."""


def encode_pair(key: Any, value: Any) -> tuple[bytes, bytes]:
    """Return the canonical bytes of a key and its value. Raises ValueNotEncodable, which names the key and the type."""
    try:
        key_bytes = canonical.encode(key, around=AROUND)
    except ValueNotEncodable as error:
        raise _naming(f"the key {key_text(key)}", error) from None
    try:
        return key_bytes, canonical.encode(value, around=AROUND)
    except ValueNotEncodable as error:
        raise _naming(f"the value of the key {key_text(key)}", error) from None


def encode_pairs(pairs: Sequence[Pair]) -> tuple[list[bytes], list[bytes]]:
    """Return the canonical bytes of all keys, and those of all values: ``encode_pair`` for many."""
    try:
        return encode_keys(pairs), canonical.encode_each([value for _, value in pairs], around=AROUND)
    except ValueNotEncodable:
        raise next(filter(None, map(_refusal, pairs))) from None


def encode_keys(pairs: Sequence[Pair]) -> list[bytes]:
    """Return the canonical bytes of all keys. Raises ValueNotEncodable."""
    return canonical.encode_each([key for key, _ in pairs], around=AROUND)


def _refusal(pair: Pair) -> ValueNotEncodable | None:
    try:
        encode_pair(*pair)
    except ValueNotEncodable as error:
        return error
    return None


def _naming(what: str, error: ValueNotEncodable) -> ValueNotEncodable:
    return ValueNotEncodable(f"{what}: {error.reason}", type_name=error.type_name, where=error.where)


# --- keys with the numbers that a partitioner gave them -------------------------------------------------------------


def is_number(number: object) -> bool:
    """Whether this may come from a partitioner: an int of 64 bits, and no bool."""
    return type(number) is int and -(1 << MAX_NUMBER_BITS) <= number < 1 << MAX_NUMBER_BITS


def number_bytes(key: object) -> bytes:
    """Return the number of a key that travels as (number, key), as text that sorts as numbers do. Raises NotCanonical
    for other keys."""
    if type(key) is not tuple or len(key) != 2 or not is_number(key[0]):  # noqa: PLR2004 - number and key
        raise NotCanonical("a key without the number that a partitioner gives")
    return b"%016x" % (key[0] + (1 << MAX_NUMBER_BITS))
