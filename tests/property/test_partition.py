from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ec262.domain.errors import ValueNotEncodable
from ec262.domain.foreman.data.partition import encode_row, rows_payload, split
from ec262.domain.foreman.data.shuffle import shuffle
from ec262.domain.values import canonical
from ec262.domain.values.pairs import AROUND
from tests.property.canonical_values import hashables, identity, values

sizes_and_parts = st.lists(st.one_of(st.integers(0, 10), st.integers(0, 10**9)), min_size=1, max_size=60).flatmap(
    lambda sizes: st.tuples(st.just(sizes), st.integers(1, len(sizes)))
)


@given(sizes_and_parts)
@example(([0] * 10, 3))
@example(([10**9, *[0] * 9], 10))
@example(([*[0] * 9, 10**9], 10))
@example(([1, 1, 10**6, 1, 1], 4))
def test_nothing_is_lost_nothing_is_there_twice_and_no_partition_is_empty(case: tuple[list[int], int]) -> None:
    sizes, parts = case
    partitions = split(sizes, parts)
    assert len(partitions) == parts
    assert all(partitions)
    assert list(chain.from_iterable(partitions)) == list(range(len(sizes)))


@given(sizes_and_parts)
@example(([10**9, *[0] * 9], 10))
def test_partitions_are_balanced_to_within_one_row(case: tuple[list[int], int]) -> None:
    sizes, parts = case
    weights = [size + 1 for size in sizes]
    heaviest = max(sum(weights[index] for index in partition) for partition in split(sizes, parts))
    assert heaviest <= sum(weights) / parts + max(weights)


@pytest.mark.parametrize("size", [0, 1, 7])
def test_equal_rows_make_equal_partitions(size: int) -> None:
    assert split([size] * 12, 4) == [range(3), range(3, 6), range(6, 9), range(9, 12)]


def test_a_heavy_row_stands_alone() -> None:
    assert split([1, 1, 100, 1, 1], 3) == [range(2), range(2, 3), range(3, 5)]


@pytest.mark.parametrize(("rows", "parts"), [(0, 0), (0, 1), (3, 0), (3, 4), (3, -1)])
def test_rows_cannot_make_any_number_of_partitions(rows: int, parts: int) -> None:
    with pytest.raises(ValueError, match="partitions"):
        split([1] * rows, parts)


@given(st.lists(st.tuples(hashables, values), max_size=2))
def test_a_payload_is_the_canonical_list_of_its_rows(pairs: list[tuple[Any, Any]]) -> None:
    rows = [encode_row(key, value) for key, value in pairs]
    assert [row.key for row in rows] == [canonical.encode(key) for key, _ in pairs]
    payload = rows_payload(rows)
    assert payload == canonical.encode([[key, value] for key, value in pairs])
    assert identity(canonical.decode(payload)) == identity([[key, value] for key, value in pairs])


def test_an_unencodable_row_names_its_key_and_the_type() -> None:
    with pytest.raises(ValueNotEncodable, match=r"the key <object object.*type object ") as caught:
        encode_row(object(), 1)
    assert caught.value.type_name == "object"
    with pytest.raises(ValueNotEncodable, match=r"the value of the key 'kkk.*\.\.\.: .*at \[1\]") as caught:
        encode_row("k" * 1000, [1, range(3)])
    assert caught.value.type_name == "range"
    assert len(str(caught.value)) < 500


def test_every_valid_row_can_be_decoded_inside_its_payload() -> None:
    deep: list[Any] = []
    for _ in range(canonical.MAX_DEPTH - AROUND - 1):
        deep = [deep]
    assert canonical.decode(rows_payload([encode_row(1, deep)])) == [[1, deep]]
    assert [canonical.decode(row.data) for row in shuffle([[(1, deep)]])] == [[1, [deep]]]
    with pytest.raises(ValueNotEncodable, match="deep"):
        encode_row(1, [deep])
