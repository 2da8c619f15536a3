"""Canonical form: one sequence of bytes for each value, on every machine and every Python.

Format 1 is JSON in UTF-8 without white space. Values that JSON lacks are objects with a single key, their tag:

============================================  ========================================================================
value                                         canonical form
============================================  ========================================================================
``None``, ``True``, ``False``                 ``null``, ``true``, ``false``
``int`` from -2**53 to 2**53                  a number without fraction: ``-17``
``int`` beyond                                ``{"$int":"-0x20000000000001"}`` (hexadecimal, read in linear time)
``float``, finite                             its shortest ``repr``, always a float's: ``1.0``, ``-0.0``, ``1e+16``
``float``, not finite                         ``{"$float":"nan"}``, ``"inf"``, ``"-inf"``; all NaNs are alike
``complex``                                   ``{"$complex":[real,imaginary]}``, two floats
``str``                                       a string; only ``"``, ``\\`` and U+0000 to U+001F are escaped
``str`` with a lone surrogate                 ``{"$str":"7aCA"}``, Base64 of UTF-8 with ``surrogatepass``
``bytes``, ``bytearray``                      ``{"$bytes":"AAE="}``, ``{"$bytearray":"AAE="}``, Base64
``list``                                      an array
``tuple``                                     ``{"$tuple":[...]}``
``set``, ``frozenset``                        ``{"$set":[...]}``, ``{"$frozenset":[...]}``, sorted by canonical bytes
``dict`` whose keys are all ``str`` without   an object, sorted by key (by code points)
lone surrogates that do not begin with ``$``
any other ``dict``                            ``{"$dict":[[key,value],...]}``, sorted by the keys' canonical bytes
============================================  ========================================================================

Strings are escaped and floats written as in the standard library's ``json``. The order in which a dict or set was
filled is not part of the value. Only these exact types are encoded, because a subclass would be decoded as another
type. Containers nest at most ``MAX_DEPTH`` levels deep, which also rules out a container that contains itself. Sets and
dicts with colliding keys are refused: the time to read them grows with the square of their number, and a stranger can
produce such keys at will (``ec262.domain.values.hash_tables``).
"""

from __future__ import annotations

import json
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ec262.domain.errors import NotCanonical, ValueNotEncodable
from ec262.domain.values.canonical_text import MAX_DEPTH, canonical_text
from ec262.domain.values.hash_tables import check_dict, check_set
from ec262.domain.values.plain_json import MAX_NUMBER, scalar_lines, tree_text

__all__ = [
    "FORMAT",
    "MAX_DEPTH",
    "MAX_NUMBER",
    "decode",
    "encode",
    "encode_each",
    "encode_list",
    "parse",
]

FORMAT = 1
"""The version of the format. Results are only compared between machines with the same version."""


def encode(value: Any, *, around: int = 0) -> bytes:
    """Return the canonical bytes of a value. Raises ValueNotEncodable, which names the type and where it is.

    ``around`` is the number of containers that will enclose the bytes; they count towards ``MAX_DEPTH``.
    """
    return canonical_text(value, around).encode()


def encode_each(values: Sequence[Any], *, around: int = 0) -> list[bytes]:
    """Return the canonical bytes of each value. If all are scalars, this is several times as fast as ``encode``."""
    lines = scalar_lines(values)
    if lines is not None:
        return lines.encode().split(b"\n")
    return [canonical_text(value, around).encode() for value in values]


def encode_list(items: Iterable[bytes]) -> bytes:
    """Return the canonical bytes of a list from those of its items."""
    return b"[" + b",".join(items) + b"]"


def decode(data: bytes) -> Any:
    """Return the value of canonical bytes, with the types of the value that was encoded.

    Accepts exactly what ``encode`` writes, and raises NotCanonical for anything else. Safe for bytes from a stranger,
    but the value may take 30 times as much memory as the bytes, so limit their size first.
    """
    value = parse(data)
    try:
        text = tree_text(value, MAX_DEPTH)
        if text is None:
            text = canonical_text(value, 0)
    except RecursionError:
        raise NotCanonical("nested too deeply") from None
    except ValueNotEncodable as error:
        raise NotCanonical(f"not a canonical value: {error}") from error
    if text.encode() != data:
        raise NotCanonical("the value is not in its canonical form")
    return value


def parse(data: bytes) -> Any:
    """Return the value of canonical bytes without checking that they are canonical, for callers that check this in
    another way or do not depend on it. Raises NotCanonical if the bytes have no value."""
    try:
        return _decoder(data).decode(data.decode())
    except RecursionError:
        raise NotCanonical("nested too deeply") from None
    except ValueError as error:
        raise NotCanonical(f"not canonical JSON: {error}") from error


# --- JSON to values -------------------------------------------------------------------------------------------------
# All of this may be lax, because ``decode`` compares the bytes afterwards. It must only be fast, and return a value or
# raise ValueError.

_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 20


def _decoder(data: bytes) -> json.JSONDecoder:
    # The time to read a decimal int grows with the square of its length, but a check costs a call for each number.
    return _WARY_DECODER if _LONG_NUMBER in data.translate(_DIGITS_AS_ZEROS) else _DECODER


def _short_int(digits: str) -> int:
    if len(digits) > len(_LONG_NUMBER):
        raise ValueError("an int beyond 2**53 is written as a number")
    return int(digits)


def _read_object(pairs: list[tuple[str, Any]]) -> Any:
    if len(pairs) != 1 or pairs[0][0][:1] != "$":
        return dict(pairs)
    tag, content = pairs[0]
    read = _TAGS.get(tag)
    if read is None:
        raise ValueError("unknown tag")
    try:
        return read(content)
    except (TypeError, OverflowError) as error:  # not the tag's type, or unhashable
        raise ValueError(f"{tag}: {error}") from error


def _read_set(members: list[Any]) -> set[Any]:
    check_set(members)
    return set(members)


def _read_dict(pairs: list[Any]) -> dict[Any, Any]:
    check_dict([key for key, _ in pairs])
    return dict(pairs)


_TAGS: dict[str, Callable[[Any], Any]] = {
    "$int": lambda digits: int(digits, 16),
    "$float": float,
    "$complex": lambda parts: complex(*parts),
    "$str": lambda text: a2b_base64(text).decode("utf-8", "surrogatepass"),
    "$bytes": a2b_base64,
    "$bytearray": lambda text: bytearray(a2b_base64(text)),
    "$tuple": tuple,
    "$set": _read_set,
    "$frozenset": lambda members: frozenset(_read_set(members)),
    "$dict": _read_dict,
}

_DECODER = json.JSONDecoder(object_pairs_hook=_read_object)
_WARY_DECODER = json.JSONDecoder(object_pairs_hook=_read_object, parse_int=_short_int)
