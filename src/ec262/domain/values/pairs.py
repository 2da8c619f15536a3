"""Key and value: what rows, a task's output and a job's result are made of."""

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


def plain_rows(pairs: Sequence[Pair]) -> list[str] | None:
    """Return the canonical text of pairs, ``[key,value]``, if all keys are text and all values plain scalars, as most
    are; else None. There is one text for all pairs with a key, in their order and with commas between; the texts are
    sorted by the keys' canonical bytes."""
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
    # None of the texts of keys begins with another one, and code points are in the order of their UTF-8.
    return None if rows is None else sorted(rows)


def _rows(keys: Sequence[str], values: Sequence[Any]) -> list[str] | None:
    names, texts = scalar_lines(keys), scalar_lines(values)
    if names is None or texts is None:
        return None
    return [f"[{name},{text}]" for name, text in zip(names.split("\n"), texts.split("\n"), strict=True)]


def _have_one_value(pairs: Sequence[Pair]) -> bool:
    """Tell whether all have the same value, as where words are counted one by one."""
    kinds = set(map(type, map(itemgetter(1), pairs)))
    return len(kinds) == 1 and kinds <= _TOLD_APART and len(set(map(itemgetter(1), pairs))) == 1


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
