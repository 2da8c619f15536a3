"""Pairs of key and value, of which rows, a task's output and a job's result consist."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from ec262.domain.errors import NotCanonical, ValueNotEncodable, key_text
from ec262.domain.values import canonical
from ec262.domain.values.plain_json import scalar_lines

Pair = tuple[Any, Any]

AROUND = 3
"""How many containers enclose a key or value on the wire, as in ``["pairs",[[key,value]]]`` or ``[[key,[value]]]``."""

_EXACT_TYPES = frozenset({int, str, bool, type(None)})
"""Types with this property: two values of one type are equal exactly if their canonical bytes are."""

MAX_NUMBER_BITS = 63
"""The size of a partitioner's numbers, which also have a sign bit."""

NUMBER_BYTES = 16
"""The size of what ``number_bytes`` returns."""


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
    """Return the canonical bytes of all keys and of all values: ``encode_pair`` for many pairs."""
    try:
        return encode_keys(pairs), canonical.encode_each([value for _, value in pairs], around=AROUND)
    except ValueNotEncodable:
        raise next(filter(None, map(_refusal, pairs))) from None


def plain_rows(pairs: Sequence[Pair]) -> list[str] | None:
    """Return the canonical text of pairs, ``[key,value]``, if all keys are strings and all values plain scalars (the
    usual case), or else None. There is one text for all pairs of a key, which are separated by commas and keep their
    order. The texts are sorted by the keys' canonical bytes."""
    if set(map(type, map(itemgetter(0), pairs))) != {str}:
        return None
    times = Counter(map(itemgetter(0), pairs))
    if len(times) == len(pairs):
        rows = _rows(list(times), [value for _, value in pairs])
    elif _have_one_value(pairs):
        single = _rows(list(times), [pairs[0][1]] * len(times))
        rows = single and [",".join([row] * count) for row, count in zip(single, times.values(), strict=True)]
    else:
        rows = _grouped_rows(pairs)
    # This sorts by key: no key's text is the prefix of another's, and code points sort like their UTF-8.
    return None if rows is None else sorted(rows)


def _rows(keys: Sequence[str], values: Sequence[Any]) -> list[str] | None:
    names, texts = scalar_lines(keys), scalar_lines(values)
    if names is None or texts is None:
        return None
    return [f"[{name},{text}]" for name, text in zip(names.split("\n"), texts.split("\n"), strict=True)]


def _have_one_value(pairs: Sequence[Pair]) -> bool:
    """Return whether all pairs have the same value, as when words are counted one by one."""
    kinds = set(map(type, map(itemgetter(1), pairs)))
    return len(kinds) == 1 and kinds <= _EXACT_TYPES and len(set(map(itemgetter(1), pairs))) == 1


def _grouped_rows(pairs: Sequence[Pair]) -> list[str] | None:
    groups: defaultdict[str, list[Any]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    names = scalar_lines(list(groups))
    texts = scalar_lines(list(chain.from_iterable(groups.values())))
    if names is None or texts is None:
        return None
    each = iter(texts.split("\n"))
    return [
        f"[{name},{f'],[{name},'.join(islice(each, len(group)))}]"
        for name, group in zip(names.split("\n"), groups.values(), strict=True)
    ]


def encode_keys(pairs: Sequence[Pair]) -> list[bytes]:
    """Return the canonical bytes of all keys. Raises ValueNotEncodable."""
    keys = [key for key, _ in pairs]
    if set(map(type, keys)) != {str}:
        return canonical.encode_each(keys, around=AROUND)
    # Strings are equal exactly if their canonical bytes are, so repeated ones are encoded once.
    different = list(dict.fromkeys(keys))
    names = dict(zip(different, canonical.encode_each(different, around=AROUND), strict=True))
    return list(map(names.__getitem__, keys))


def _refusal(pair: Pair) -> ValueNotEncodable | None:
    try:
        encode_pair(*pair)
    except ValueNotEncodable as error:
        return error
    return None


def _naming(what: str, error: ValueNotEncodable) -> ValueNotEncodable:
    return ValueNotEncodable(f"{what}: {error.reason}", type_name=error.type_name, where=error.where)


# --- keys with a partitioner's numbers ------------------------------------------------------------------------------


def is_number(number: object) -> bool:
    """Return whether a partitioner may return this: an int of 64 bits that is not a bool."""
    return type(number) is int and -(1 << MAX_NUMBER_BITS) <= number < 1 << MAX_NUMBER_BITS


def number_bytes(key: object) -> bytes:
    """Return the number of a key that is sent as (number, key), as text that sorts like the number. Raises NotCanonical
    for other keys."""
    if type(key) is not tuple or len(key) != 2 or not is_number(key[0]):  # noqa: PLR2004 - number and key
        raise NotCanonical("the key has no partitioner's number")
    return b"%016x" % (key[0] + (1 << MAX_NUMBER_BITS))
