"""Where two outcomes part."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from ec262.domain.errors import ValueNotEncodable
from ec262.domain.foreman.job.difference import LAST_DIGITS, REORDERED, Difference, first_difference
from ec262.domain.values import canonical
from ec262.domain.work.outcome import Failure, Outcome, Pairs
from tests.property.canonical_values import values

FAILURE = Failure(function="mapper", exception="ValueError", row="'k'", frames=(("f", 3),))


def pairs(*given: tuple[Any, Any]) -> Pairs:
    return Pairs(pairs=given)


def told(first: Outcome, second: Outcome) -> tuple[str, str, str, str]:
    difference = first_difference(first, second)
    assert difference is not None
    return difference.where, difference.first, difference.second, difference.hint


def of_values(first: Any, second: Any) -> tuple[str, str, str, str]:
    """Tell the difference of two values of one key, without what is said of that key."""
    where, *rest = told(pairs(("a", 1), ("k", first)), pairs(("a", 1), ("k", second)))
    assert where.startswith("the value of the key 'k'")
    return where.removeprefix("the value of the key 'k'").removeprefix(", "), rest[0], rest[1], rest[2]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (1, 2, ("", "1 (int)", "2 (int)", "")),
        (1, True, ("", "1 (int)", "True (bool)", "")),
        (0.0, -0.0, ("", "0.0 (float)", "-0.0 (float)", "")),
        (0.3, 0.1 + 0.2, ("", "0.3 (float)", "0.30000000000000004 (float)", LAST_DIGITS)),
        (0.3, 0.31, ("", "0.3 (float)", "0.31 (float)", "")),
        ([1, [2, 3]], [1, [2, 4]], ("at [1][1]", "3 (int)", "4 (int)", "")),
        ((1, 2), [1, 2], ("", "(1, 2) (tuple)", "[1, 2] (list)", "")),
        ([1, 2], [2, 1], ("", "[1, 2] (list)", "[2, 1] (list)", REORDERED)),
        ({"x": (5, 6)}, {"x": (6, 5)}, ("at ['x']", "(5, 6) (tuple)", "(6, 5) (tuple)", REORDERED)),
        ([1], [1, 2], (": the number of items", "1 (int)", "2 (int)", "")),
        ([[1], 2], [[1, 2], 2], ("at [0]: the number of items", "1 (int)", "2 (int)", "")),
        ({"b": 1, "a": [1, 2]}, {"a": [1, 3], "b": 2}, ("at ['a'][1]", "2 (int)", "3 (int)", "")),
        ({"a": 1, "b": 2}, {"a": 1, "c": 2}, (": a key", "'b' (str)", "'c' (str)", "")),
        ({"a": 1}, {}, (": a key", "'a' (str)", "no counterpart", "")),
        ([{"a": 1}], [{"a": 1, "b": 2}], ("at [0]: a key", "no counterpart", "'b' (str)", "")),
        ({1, 2}, {2, 3}, (": an element", "1 (int)", "3 (int)", "")),
        (frozenset({(1, 2)}), frozenset({(1, 3)}), (": an element, at [1]", "2 (int)", "3 (int)", "")),
        ("a b c", "c b a", ("", "'a b c' (str)", "'c b a' (str)", REORDERED)),
        ("a b c", "a b d", ("", "'a b c' (str)", "'a b d' (str)", "")),
        ("x" * 500, "x" * 500 + "y", ("from [480] on", f"'{'x' * 20}' (str)", f"'{'x' * 20}y' (str)", "")),
        (b"x" * 500, b"x" * 499, ("from [479] on", f"b'{'x' * 21}' (bytes)", f"b'{'x' * 20}' (bytes)", "")),
        (None, "None", ("", "None (NoneType)", "'None' (str)", "")),
    ],
)
def test_values(first: Any, second: Any, expected: tuple[str, str, str, str]) -> None:
    assert of_values(first, second) == expected


def test_values_of_one_key_in_another_order_and_another_number() -> None:
    one, other = pairs(("k", 1), ("k", 2)), pairs(("k", 2), ("k", 1))
    assert told(one, other) == ("value 1 of 2 of the key 'k'", "1 (int)", "2 (int)", REORDERED)
    other = pairs(("k", 1), ("k", [3]))
    assert told(one, other) == ("value 2 of 2 of the key 'k'", "2 (int)", "[3] (list)", "")
    assert told(one, pairs(("k", 1))) == ("the number of values of the key 'k'", "2", "1", "")


def test_keys_are_looked_at_after_the_values_of_those_that_both_have() -> None:
    first, second = pairs(("a", 1), ("c", 3)), pairs(("b", 1), ("c", 4))
    assert told(first, second) == ("the value of the key 'c'", "3 (int)", "4 (int)", "")
    first, second = pairs(("a", 1), ("c", 3)), pairs(("b", 1), ("c", 3))
    assert told(first, second) == ("a yielded key", "'a' (str)", "'b' (str)", "")
    where, one, other, _ = told(first, pairs(("c", 3)))
    assert (where, one, other) == ("a yielded key", "'a' (str)", "no counterpart")


def test_how_it_ended() -> None:
    raised = "the mapper raised ValueError at the row with key 'k', in f line 3"
    assert told(FAILURE, pairs(("k", 1))) == ("how it ended", raised, "it yielded 1 pairs", "")
    at_load = Failure(function="job", exception="EOFError", row=None, frames=())
    assert told(at_load, FAILURE) == ("how it ended", "the job raised EOFError", raised, "")
    assert first_difference(FAILURE, FAILURE) is None


def test_equal_outcomes_have_none() -> None:
    assert first_difference(pairs(("k", [1])), pairs(("k", [1]))) is None
    assert first_difference(pairs(), pairs()) is None


@settings(max_examples=40)
@given(values, values)
def test_there_is_one_exactly_if_the_bytes_differ(first: Any, second: Any) -> None:
    try:
        differ = canonical.encode(first) != canonical.encode(second)
    except ValueNotEncodable:
        return
    found = first_difference(pairs(("k", first)), pairs(("k", second)))
    assert (found is not None) == differ
    assert found is None or isinstance(found, Difference)
