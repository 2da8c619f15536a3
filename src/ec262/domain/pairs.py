"""Key and value: what rows, a task's output and a job's result are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ec262.domain import canonical
from ec262.domain.errors import ValueNotEncodable, key_text

Pair = tuple[Any, Any]

AROUND = 3
"""Containers around a key or value when it travels, as in ``["pairs",[[key,value]]]`` or ``[[key,[value]]]``."""


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
