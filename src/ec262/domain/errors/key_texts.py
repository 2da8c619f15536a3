"""Keys as error messages show them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

MAX_KEY_CHARS = 200

MAX_INT_BITS = 14_000
"""The largest int that is written out, in 4214 digits. The time to convert one grows with the square of its length."""


def key_text(key: object) -> str:
    """Return a key as error messages show it: its repr, cut to ``MAX_KEY_CHARS``. Items of a container beyond that are
    not read."""
    text = ""
    try:
        for piece in _pieces(key):
            text += piece
            if len(text) > MAX_KEY_CHARS:
                return f"{text[:MAX_KEY_CHARS]}..."
    except (ValueError, RecursionError):  # a user-defined container may raise these
        return f"<{type(key).__name__}>"
    return text


def _pieces(value: object) -> Iterator[str]:
    """Yield the repr of a value in pieces, none of which is empty."""
    match value:
        case int() if type(value) is int and value.bit_length() > MAX_INT_BITS:
            yield "<int>"
        case list() if type(value) is list:
            yield from _joined("[", map(_pieces, value), "]")
        case tuple() if type(value) is tuple:
            yield from _joined("(", map(_pieces, value), ",)" if len(value) == 1 else ")")
        case set() if value and type(value) is set:
            yield from _joined("{", map(_pieces, value), "}")
        case frozenset() if value and type(value) is frozenset:
            yield from _joined("frozenset({", map(_pieces, value), "})")
        case dict() if type(value) is dict:
            yield from _joined("{", (chain(_pieces(each), [": "], _pieces(value[each])) for each in value), "}")
        case _:
            yield repr(value)


def _joined(start: str, items: Iterable[Iterable[str]], end: str) -> Iterator[str]:
    yield start
    for number, item in enumerate(items):
        if number:
            yield ", "
        yield from item
    yield end
