"""Key and value: what rows, a task's output and a job's result are made of."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from ec262.domain import canonical
from ec262.domain.errors import NotCanonical, ValueNotEncodable, key_text
from ec262.domain.plain_json import scalar_lines

Pair = tuple[Any, Any]

AROUND = 3
"""Containers around a key or value when it travels, as in ``["pairs",[[key,value]]]`` or ``[[key,[value]]]``."""

_TOLD_APART = frozenset({int, str, bool, type(None)})
"""Kinds whose values, among themselves, are equal exactly if their canonical bytes are."""

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


def plain_groups(pairs: Sequence[Pair]) -> list[tuple[str, list[str]]] | None:
    """Return the canonical text of each key, sorted by its bytes, with those of its values in their order, if all keys
    are text and all values plain scalars, as most are; else None. Keys that are there often are encoded once."""
    if set(map(type, map(itemgetter(0), pairs))) != {str}:
        return None
    named = _repeated_groups(pairs) or _single_groups(pairs)
    return None if named is None else sorted(named, key=itemgetter(0))  # code points are in the order of their UTF-8


def _repeated_groups(pairs: Sequence[Pair]) -> list[tuple[str, list[str]]] | None:
    """Do it if each key always has the same value, as where words are counted one by one."""
    kinds = set(map(type, map(itemgetter(1), pairs)))
    if len(kinds) != 1 or not kinds <= _TOLD_APART:
        return None
    times = Counter(pairs)
    if len(times) == len(pairs) or len(set(map(itemgetter(0), times))) < len(times):
        return None
    names, texts = (scalar_lines(list(map(itemgetter(place), times))) for place in (0, 1))
    if names is None or texts is None:
        return None
    each = zip(names.split("\n"), texts.split("\n"), times.values(), strict=True)
    return [(name, [text] * count) for name, text, count in each]


def _single_groups(pairs: Sequence[Pair]) -> list[tuple[str, list[str]]] | None:
    groups: defaultdict[Any, list[Any]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    names = scalar_lines(list(groups))
    texts = scalar_lines(list(chain.from_iterable(groups.values())))
    if names is None or texts is None:
        return None
    each = iter(texts.split("\n"))
    return [
        (name, list(islice(each, len(group)))) for name, group in zip(names.split("\n"), groups.values(), strict=True)
    ]


def encode_keys(pairs: Sequence[Pair]) -> list[bytes]:
    """Return the canonical bytes of all keys. Raises ValueNotEncodable."""
    keys = [key for key, _ in pairs]
    if set(map(type, keys)) != {str}:
        return canonical.encode_each(keys, around=AROUND)
    # Texts are equal exactly if their canonical bytes are: one that is there often is encoded once.
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
