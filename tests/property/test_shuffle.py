from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec262.domain.errors import JobDefinitionError, KeyCollision, KeyNotHashable
from ec262.domain.foreman.data.partition import split
from ec262.domain.foreman.data.shuffle import merge_results, shuffle
from ec262.domain.values import canonical
from ec262.domain.work.outcome import Pairs, decode_outcome, encode_outcome
from tests.property.canonical_values import identity

Pair = tuple[Any, Any]

# Keys of few kinds, so that several pairs have the same key; no two kinds are equal in Python.
keys = st.one_of(
    st.integers(0, 4),
    st.sampled_from("abc"),
    st.tuples(st.integers(0, 1), st.sampled_from("xy")),
    st.none(),
    st.frozensets(st.sampled_from("pq")),
)
tasks = st.lists(st.lists(st.tuples(keys, st.integers(0, 9)), max_size=10), max_size=5)


def delivered(outputs: list[list[Pair]]) -> list[tuple[Pair, ...]]:
    """What tasks that yielded these pairs deliver."""
    outcomes = [decode_outcome(encode_outcome(Pairs(pairs=tuple(pairs)))) for pairs in outputs]
    return [outcome.pairs for outcome in outcomes if isinstance(outcome, Pairs)]


@given(tasks)
def test_values_are_grouped_in_the_order_of_the_data_and_keys_in_canonical_order(outputs: list[list[Pair]]) -> None:
    expected: dict[Any, list[Any]] = {}
    for key, value in itertools.chain.from_iterable(outputs):
        expected.setdefault(key, []).append(value)
    rows = shuffle(delivered(outputs))
    assert [row.key for row in rows] == sorted(canonical.encode(key) for key in expected)
    assert all(canonical.decode(row.data)[0] == canonical.decode(row.key) for row in rows)
    assert dict(canonical.decode(row.data) for row in rows) == expected


@given(tasks)
def test_the_last_pair_wins_and_the_result_is_in_canonical_order(outputs: list[list[Pair]]) -> None:
    expected = dict(itertools.chain.from_iterable(outputs))
    result = merge_results(delivered(outputs))
    assert result == expected
    encoded = [canonical.encode(key) for key in result]
    assert encoded == sorted(encoded)


@given(st.lists(st.tuples(keys, st.one_of(st.integers(0, 9), st.just([1.0, None]))), max_size=8), st.data())
def test_a_job_gives_the_same_result_however_it_is_cut_into_tasks(data: list[Pair], draw: st.DataObject) -> None:
    def run(map_tasks: int, reduce_tasks: int) -> list[Any]:
        mapped = [[data[index] for index in part] for part in split([1] * len(data), map_tasks)] if data else []
        rows = shuffle(delivered(mapped))
        groups = [canonical.decode(row.data) for row in rows]
        parts = split([len(row.data) for row in rows], min(reduce_tasks, len(rows))) if rows else []
        # A reducer that yields several pairs, also with keys that others yield.
        reduced = [
            [pair for index in part for key, many in [groups[index]] for pair in ((key, many), ("last", key))]
            for part in parts
        ]
        return [identity(pair) for pair in merge_results(delivered(reduced)).items()]

    tasks_of_both = st.tuples(st.integers(1, max(1, len(data))), st.integers(1, 4))
    assert run(*draw.draw(tasks_of_both, label="cut")) == run(1, 1)


def test_nothing_gives_nothing() -> None:
    assert shuffle([]) == []
    assert shuffle([(), ()]) == []
    assert merge_results([]) == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        (0, False),
        (1.0, 1 + 0j),
        (2**60, 2.0**60),
        (("a", 1), ("a", True)),
        ((0.0, ("x",)), (-0.0, ("x",))),
        (frozenset({1}), frozenset({1.0})),
    ],
)
def test_keys_that_python_takes_for_equal_collide(first: Any, second: Any) -> None:
    for collect in (shuffle, merge_results):
        for outputs in ([((first, "x"),), ((second, "y"),)], [((first, "x"), (second, "y"))]):
            with pytest.raises(KeyCollision, match=r"of one type|add 0 to such keys") as caught:
                collect(outputs)
            assert {identity(caught.value.first), identity(caught.value.second)} == {identity(first), identity(second)}


def test_nans_are_one_key() -> None:
    outputs = [((float("nan"), 1),), ((float("nan"), 2),)]
    assert [canonical.decode(row.data)[1] for row in shuffle(outputs)] == [[1, 2]]
    assert list(merge_results(outputs).values()) == [2]


@pytest.mark.parametrize("key", [[1], {}, {1}, bytearray(b"a"), (1, [2])])
def test_keys_that_no_dict_takes_are_the_jobs_mistake(key: Any) -> None:
    for collect in (shuffle, merge_results):
        with pytest.raises(KeyNotHashable, match=r"cannot be a key.*hashable"):
            collect([(("fine", 1),), ((key, 1),)])


def test_keys_made_to_collide_are_refused_at_once() -> None:
    colliding = tuple((key, 1) for key in itertools.product((-1, -2), repeat=10))
    for collect in (shuffle, merge_results):
        with pytest.raises(JobDefinitionError, match="in reasonable time"):
            collect([colliding])


def test_strings_that_look_like_other_keys_are_keys_of_their_own() -> None:
    pairs = (("1", "a"), (1, "b"), (b"1", "c"), ((1,), "d"), (None, "e"), ("null", "f"))
    assert merge_results([pairs]) == dict(pairs)
    assert len(shuffle([pairs])) == len(pairs)
