"""Keys that fill one chain of slots in Python's dicts or sets, though no two of them have the same hash."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator
from typing import Any

import pytest

from ec262.domain.errors import JobDefinitionError, NotCanonical, ValueNotEncodable
from ec262.domain.foreman.data.shuffle import merge_results
from ec262.domain.values import canonical
from ec262.domain.values.hash_tables import check_dict, check_set

DICT_BITS = SET_BITS = 15
"""Slots of such dicts and sets, as powers of two."""


def cycle(bits: int) -> Iterator[int]:
    """Yield the slots that every key is led to in the end, however its hash perturbs its first steps."""
    slot = 0
    while True:
        yield slot
        slot = (5 * slot + 1) % (1 << bits)


def chained_in_dict(count: int = 19_000) -> list[int]:
    """Return ints half of which fill a chain of slots, while the others begin where it begins."""
    chain = list(itertools.islice(cycle(DICT_BITS), count // 2))
    return chain + [(number << DICT_BITS) + chain[0] for number in range(1, count - len(chain) + 1)]


def chained_in_set() -> list[int]:
    """Return ints that fill rows of ten slots, as many as a set looks at before it goes elsewhere, and others whose
    steps lead to the first of these rows and then from row to row."""
    rows = list(itertools.islice(cycle(SET_BITS), 1500))
    start = set(rows[:300])
    chain = dict.fromkeys((slot + step) % (1 << SET_BITS) for slot in rows for step in range(10))
    candidates = (number << SET_BITS for number in itertools.count(1))
    walkers = (number for number in candidates if _leads_to(number, start, chain))
    return [*chain, *itertools.islice(walkers, 20)]


def _leads_to(number: int, first: set[int], taken: Container[int]) -> bool:
    perturb, slot = number, number % (1 << SET_BITS)
    while perturb:
        if slot not in taken:
            return False
        perturb >>= 5
        slot = (5 * slot + 1 + perturb) % (1 << SET_BITS)
    return slot in first


@pytest.mark.parametrize("check", [check_dict, check_set])
def test_small_tables_of_equal_hashes_are_refused(check: Callable[[list[Any]], None]) -> None:
    """Otherwise a result of many such dicts would be slow to read."""
    equal = [(2**61 - 1) * number for number in range(1, 200)]
    check(equal[:128])
    for keys in (equal, list(itertools.product((-1, -2), repeat=8))):
        with pytest.raises(ValueError, match="slow"):
            check(keys)


@pytest.mark.parametrize("check", [check_dict, check_set])
def test_small_tables_of_honest_keys_pass(check: Callable[[list[Any]], None]) -> None:
    for shift, count in itertools.product(range(64), (129, 171, 172, 400, 900)):
        check([number << shift for number in range(count)])
        check([number / 2**shift for number in range(count)])


@pytest.mark.parametrize("as_keys", [list, lambda ints: [(float(number),) for number in ints]], ids=["ints", "tuples"])
def test_honest_keys_pass(as_keys: Callable[[Any], list[Any]]) -> None:
    count = 20_000
    for numbers in (
        *([number << shift for number in range(count)] for shift in (0, 1, 5, 10, 16, 20, 24, 31, 32, 40, 60, 100)),
        *([number * 10**zeros for number in range(count)] for zeros in (1, 3, 6, 9, 15)),
        [number**2 for number in range(count)],
        range(-count, 0),
        sorted(range(count), key=str),
    ):
        check_dict(as_keys(numbers))
        check_set(as_keys(numbers))
    check_dict(list(itertools.product((-2, -1, 1, 2), repeat=7)))  # hash(-1) == hash(-2)
    check_dict([text for number in range(count) for text in (str(number), b"%d" % number)])


@pytest.mark.parametrize("change", [int, float], ids=["ints", "floats"])
def test_a_chain_of_different_hashes_is_refused(change: Callable[[int], Any]) -> None:
    in_dict, in_set = list(map(change, chained_in_dict())), list(map(change, chained_in_set()))
    assert len(set(map(hash, in_dict))) == len(in_dict)
    with pytest.raises(ValueError, match="collide"):
        check_dict(in_dict)
    with pytest.raises(ValueError, match="collide"):
        check_set(in_set)


def test_a_chain_in_a_table_that_still_grows_is_refused() -> None:
    harmless = [(1 << 40) + number for number in range(200_000)]
    with pytest.raises(ValueError, match="collide"):
        check_dict([*chained_in_dict(), *harmless])
    with pytest.raises(ValueError, match="collide"):
        check_set([*chained_in_set(), *harmless])


def test_a_chain_is_refused_wherever_a_stranger_can_put_one() -> None:
    ints = sorted(chained_in_dict(), key=str)
    pairs = b",".join(b"[%d,1]" % number for number in ints)
    members = b",".join(b"%d" % number for number in chained_in_set())
    for data in (
        b'{"$dict":[' + pairs + b"]}",
        b'["pairs",[["key",{"$dict":[' + pairs + b"]}]]]",
        b'{"$set":[' + members + b"]}",
        b'{"$frozenset":[' + members + b"]}",
    ):
        with pytest.raises(NotCanonical, match="collide"):
            canonical.decode(data)
    with pytest.raises(JobDefinitionError, match="collide"):
        merge_results([[(number, 1) for number in ints[::2]], [(number, 1) for number in ints[1::2]]])


def test_workers_write_nothing_that_a_foreman_would_refuse_to_read() -> None:
    with pytest.raises(ValueNotEncodable, match="collide"):
        canonical.encode(dict.fromkeys(chained_in_dict()))


def frozensets(level: int, members: int, variant: int) -> bytes:
    """Return frozensets in frozensets, many with the same hash, that differ in the last place that is looked at."""
    if level == 0:
        return b'{"$int":"0x%x"}' % ((1 << 20 | variant) * (2**61 - 1) + 5)
    inner = sorted(
        frozensets(level - 1, members, number if number < members - 1 else number + variant)
        for number in range(members)
    )
    return b'{"$frozenset":[' + b",".join(inner) + b"]}"


def test_comparisons_that_multiply_with_each_level_are_refused() -> None:
    assert len(canonical.decode(frozensets(1, 128, 0))) == 128
    for level, members in [(2, 20), (3, 8), (4, 2)]:
        with pytest.raises(NotCanonical, match="contain frozensets whose members also share a hash"):
            canonical.decode(frozensets(level, members, 0))
    honest = {frozenset({(x, y), (y, z)}) for x in range(-3, 9) for y in range(-3, 9) for z in range(-3, 9)}
    assert canonical.decode(canonical.encode(honest)) == honest
