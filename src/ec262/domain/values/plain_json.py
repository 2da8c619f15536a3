"""The shortcut to canonical form: ``json`` itself writes most data canonically, at the speed of C.

``ec262.domain.values.canonical_text`` handles the rest; both produce the same text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from itertools import chain
from json.encoder import encode_basestring
from typing import Any

MAX_NUMBER = 2**53
"""The largest int written as a number: every JSON reader represents it exactly (RFC 8259, section 6)."""

_MAX_LEVELS = 8
_FEW_ITEMS = 4


def _json_encoder(item_separator: str) -> Callable[[Any], str]:
    return json.JSONEncoder(
        ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(item_separator, ":")
    ).encode


_dump = _json_encoder(",")
_dump_lines = _json_encoder("\n")

_ESCAPED = ('"', "\\", *map(chr, range(0x20)))
_LONG_TEXT = 4096

_SCALARS = frozenset({type(None), bool, int, float, str})
_TYPES = _SCALARS | {list, dict}


def quoted(text: str) -> str:
    """Return the JSON of a text. Most long texts have nothing to escape, and checking this takes a tenth of the time of
    encoding."""
    if len(text) >= _LONG_TEXT and not any(char in text for char in _ESCAPED):
        return f'"{text}"'
    return encode_basestring(text)


def plain_text(value: list[Any] | dict[Any, Any], max_levels: int) -> str | None:
    """Return the canonical form of a value if a quick check shows that it equals its JSON, or else None.

    ``max_levels`` is how deep containers may nest, including ``value``.
    """
    return tree_text(value, min(max_levels, _MAX_LEVELS))


def tree_text(value: Any, max_levels: int) -> str | None:
    """Return what ``plain_text`` returns, for a value that was just read from JSON and hence contains no container
    twice. The value is traversed once, however deep it is."""
    if not _is_plain([value], max_levels):
        return None
    text = None
    with suppress(ValueError):  # a NaN or an infinity
        text = _dump(value)
    return text if text is not None and is_unicode(text) else None


def scalar_lines(values: Sequence[Any]) -> str | None:
    """Return the canonical form of each value if a quick check shows that all are scalars and equal their JSON, or else
    None.

    Each value has its own line, since no scalar's JSON contains a line end.
    """
    if not values or not _is_plain(values, 0):
        return None
    lines = None
    with suppress(ValueError):
        lines = _dump_lines(values)
    return lines[1:-1] if lines is not None and is_unicode(lines) else None


def is_unicode(text: str) -> bool:
    """Return whether a text has no lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_plain(values: Sequence[Any], levels: int) -> bool:
    """Return whether ``json`` writes the values canonically, apart from non-finite floats and lone surrogates.

    The values are traversed level by level, which is much faster than one by one. The result is also False if
    containers nest deeper than ``levels``.
    """
    while True:
        kinds = set(map(type, values))
        if not kinds <= _TYPES or not _are_numbers(_only(int, values, kinds)):
            return False
        lists, dicts = _once(_only(list, values, kinds)), _once(_only(dict, values, kinds))
        if not lists and not dicts:
            return True
        if levels == 0:
            return False
        if not _are_plain_keys(list(chain.from_iterable(dicts))):
            return False
        levels -= 1
        values = [*chain.from_iterable(lists), *chain.from_iterable(map(dict.values, dicts))]


def _only(kind: type, values: Sequence[Any], kinds: set[type]) -> Sequence[Any]:
    if kind not in kinds:
        return ()
    return values if len(kinds) == 1 else [value for value in values if type(value) is kind]


def _once(containers: Sequence[Any]) -> Collection[Any]:
    """Drop duplicates, unless all containers are small: a list that contains itself must not grow with each level."""
    if sum(map(len, containers)) <= _FEW_ITEMS * len(containers):
        return containers
    return dict(zip(map(id, containers), containers, strict=True)).values()


def _are_numbers(numbers: Sequence[int]) -> bool:
    return not numbers or (min(numbers) >= -MAX_NUMBER and max(numbers) <= MAX_NUMBER)


def _are_plain_keys(keys: Sequence[Any]) -> bool:
    return set(map(type, keys)) <= {str} and not any(key[:1] == "$" for key in keys)
