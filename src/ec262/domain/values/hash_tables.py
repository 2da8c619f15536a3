"""Refuses the keys of a set or dict that would take long to fill, before it is filled.

Python's hashes of numbers, and of tuples and frozensets of numbers, are public. A stranger can choose keys that all
follow one chain of slots, even if no two of them have the same hash. The time to insert them grows with the square of
their number (Crosby and Wallach, "Denial of Service via Algorithmic Complexity Attacks"). So the steps are counted in a
model of CPython's tables, at every size that a table has while it grows. The hashes of strings and bytes are keyed with
a secret of the process and need no check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import eq
from typing import Any

MAX_EQUAL_HASHES = 128
"""The maximum number of keys with the same hash, since each is compared with all the others. Smaller sets and dicts are
not checked."""

MAX_STEPS = 1000
"""The most steps to one key's slot. Multiples of powers of two take several hundred."""

MAX_MEAN_STEPS = 64
"""The most steps per key on average. Random keys take less than one, multiples of powers of two up to 30."""

MAX_COMPARED = 16
"""The maximum number of keys with the same hash that contain frozensets whose members share a hash, and of such
members."""

_KEYED = frozenset({str, bytes})
_CONTAINERS = frozenset({tuple, frozenset})
_HASH_BITS = (1 << 64) - 1
_SHIFT = 5
_IN_A_ROW = 9
_LARGE_SET = 50_000


def check_dict(keys: Sequence[Any]) -> None:
    """Raise ValueError if a dict of these keys, inserted in this order, would take long to fill."""
    _check(keys, _dict_steps, _next_dict)


def check_set(keys: Sequence[Any]) -> None:
    """Raise ValueError if a set of these keys, inserted in this order, would take long to fill."""
    _check(keys, _set_steps, _next_set)


def _check(
    keys: Sequence[Any],
    steps: Callable[[Sequence[int], int, int], int],
    following: Callable[[int], tuple[int, int]],
) -> None:
    kinds = set(map(type, keys))
    if kinds <= _KEYED:
        return
    if kinds & _CONTAINERS:
        _check_comparisons([key for key in keys if type(key) in _CONTAINERS])
    if len(keys) <= MAX_EQUAL_HASHES:
        return
    hashes = [hash(key) & _HASH_BITS for key in keys]
    ordered = sorted(hashes)
    if any(map(eq, ordered, ordered[MAX_EQUAL_HASHES:])):
        raise ValueError(f"more than {MAX_EQUAL_HASHES} of these keys have the same hash: a set or dict would be slow")
    room, size = following(0)
    while room < MAX_EQUAL_HASHES:  # too small to be slow
        room, size = following(room)
    while True:
        first = hashes[:room]
        if steps(first, size, MAX_MEAN_STEPS * len(first)) > MAX_MEAN_STEPS * len(first):
            raise ValueError(
                f"too many of these {len(keys)} keys have hashes that are equal or collide: "
                "a set or dict of them would be slow"
            )
        if room >= len(hashes):
            return
        room, size = following(room)


def _check_comparisons(keys: Sequence[Any]) -> None:
    """Raise ValueError if keys with the same hash contain frozensets whose members share a hash: both levels are
    compared, so the numbers of comparisons multiply."""
    for _, group in groupby(sorted(keys, key=hash), key=hash):
        equal = list(group)
        levels = max(map(_levels, equal)) if len(equal) > 1 else 0
        if levels > 1 or (levels == 1 and len(equal) > MAX_COMPARED):
            raise ValueError("keys with the same hash contain frozensets whose members also share a hash")


def _levels(value: Any) -> int:
    """Return how many levels of nested frozensets have members with the same hash. Those with many such members count
    twice."""
    if type(value) not in _CONTAINERS:
        return 0
    within = max(map(_levels, value), default=0)
    if type(value) is tuple:
        return within
    most = max((len(list(group)) for _, group in groupby(sorted(map(hash, value)))), default=0)
    return within + (most > 1) + (most > MAX_COMPARED)


def _next_dict(keys: int) -> tuple[int, int]:
    """Return how many keys fit into a dict after it grew at ``keys`` keys, and how many slots it has."""
    size = 1 << max(3, (3 * keys - 1).bit_length())
    return 2 * size // 3, size


def _next_set(keys: int) -> tuple[int, int]:
    """Return how many keys fit into a set after it grew at ``keys`` keys, and how many slots it has."""
    size = 1 << max(3, (keys * (2 if keys > _LARGE_SET else 4)).bit_length())
    return -(-3 * (size - 1) // 5), size


def _dict_steps(hashes: Sequence[int], size: int, most: int) -> int:
    """Return how many occupied slots are probed while a dict of ``size`` slots is filled. A number above ``most`` means
    that it is refused."""
    taken = bytearray(size)
    mask = size - 1
    total = 0
    for number in hashes:
        slot = number & mask
        if taken[slot]:
            steps = 0
            while taken[slot]:
                number >>= _SHIFT  # noqa: PLW2901 - the rest of the hash perturbs the next step
                slot = (5 * slot + number + 1) & mask
                steps += 1
                if steps > MAX_STEPS:
                    return most + 1
            total += steps
            if total > most:
                return total
        taken[slot] = 1
    return total


def _set_steps(hashes: Sequence[int], size: int, most: int) -> int:
    """Return what ``_dict_steps`` returns, for a set. A row of slots counts as one in the total, since they are
    adjacent in memory."""
    taken = bytearray(size)
    mask = size - 1
    total = 0
    for number in hashes:
        slot = number & mask
        if taken[slot]:
            steps = rows = 0
            while True:
                row = _IN_A_ROW if slot + _IN_A_ROW <= mask else 0
                free = taken.find(0, slot, slot + row + 1)
                if free >= 0:
                    slot = free
                    break
                rows += 1
                steps += row + 1
                if steps > MAX_STEPS:
                    return most + 1
                number >>= _SHIFT  # noqa: PLW2901 - the rest of the hash perturbs the next step
                slot = (5 * slot + number + 1) & mask
            total += rows
            if total > most:
                return total
        taken[slot] = 1
    return total
