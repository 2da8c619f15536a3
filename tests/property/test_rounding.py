"""Rounding: what it must leave alone, and that it makes what nearly was one value one."""

from __future__ import annotations

import math
from decimal import Context, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec262.domain.errors import ValueNotEncodable
from ec262.domain.values.canonical import MAX_DEPTH, encode
from ec262.domain.values.rounding import MAX_DIGITS, round_floats
from tests.property.canonical_values import finite_floats, floats_without_nan, identity, values

digits = st.integers(1, MAX_DIGITS)
without_floats = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.binary(max_size=5)),
    lambda items: st.one_of(st.lists(items, max_size=4), st.dictionaries(st.text(max_size=3), items, max_size=4)),
    max_leaves=8,
)


def rounded(value: Any, number: int) -> Any:
    """Round a value; a dict whose keys that makes equal is none of this test's business."""
    try:
        return round_floats(value, number)
    except ValueNotEncodable:
        return None


@given(values, digits)
def test_to_round_again_changes_nothing(value: Any, number: int) -> None:
    once = rounded(value, number)
    assert identity(rounded(once, number)) == identity(once)


@given(without_floats, digits)
def test_values_without_floats_are_unchanged(value: Any, number: int) -> None:
    assert identity(round_floats(value, number)) == identity(value)


@given(finite_floats, digits)
def test_a_float_is_the_nearest_with_that_many_digits(value: float, number: int) -> None:
    nearest = Context(prec=number).create_decimal(Decimal(value))
    expected = float(nearest)
    assert round_floats(value, number) == (expected if math.isfinite(expected) else value)


@given(st.floats(1e-300, 1e300), digits)
def test_the_relative_error_is_at_most_half_a_unit_of_the_last_digit(value: float, number: int) -> None:
    assert abs(round_floats(value, number) - value) <= value * 0.5000001 * 10 ** (1 - number)


@given(st.floats(1e-3, 1e9), st.sampled_from([1, -1]), st.data())
def test_a_difference_in_the_last_bit_is_gone_unless_a_boundary_lies_there(
    value: float, direction: int, draw: st.DataObject
) -> None:
    number = draw.draw(st.integers(1, 12), label="digits")
    neighbor = math.nextafter(value, direction * math.inf)
    first, second = round_floats([value, neighbor], number)
    if first != second:
        middle = (Decimal(first) + Decimal(second)) / 2
        assert abs(Decimal(value) - middle) <= abs(Decimal(value)) * Decimal(2) ** -49


@given(floats_without_nan, floats_without_nan, digits)
def test_order_is_kept(first: float, second: float, number: int) -> None:
    low, high = sorted((first, second))
    assert round_floats(low, number) <= round_floats(high, number)


@pytest.mark.parametrize(
    ("value", "number", "expected"),
    [
        (0.1 + 0.2, 12, 0.3),
        (123456.789, 3, 123000.0),
        (-0.0, 3, -0.0),
        (math.inf, 3, math.inf),
        (-math.inf, 3, -math.inf),
        (5e-324, 3, 5e-324),
        (1.7976931348623157e308, 2, 1.7976931348623157e308),
        (True, 1, True),
        (123456, 2, 123456),
        (complex(0.1 + 0.2, -0.0), 12, complex(0.3, -0.0)),
        ({(0.1 + 0.2,): frozenset({0.1 + 0.2, 7})}, 12, {(0.3,): frozenset({0.3, 7})}),
        ({0.1 + 0.2, 0.3}, 12, {0.3}),
        (bytearray(b"1.23"), 1, bytearray(b"1.23")),
    ],
)
def test_examples(value: Any, number: int, expected: Any) -> None:
    assert identity(round_floats(value, number)) == identity(expected)


def test_a_nan_stays_one() -> None:
    assert math.isnan(round_floats(math.nan, 3))


def test_types_without_canonical_form_come_back_as_they_are() -> None:
    class Float(float):
        pass

    odd = [Float(0.123456), object(), range(3)]
    assert [left is right for left, right in zip(round_floats(odd, 2), odd, strict=True)] == [True] * 3


def test_recursive_values_are_left_to_the_encoder() -> None:
    loop: list[Any] = [0.123]
    loop.append(loop)
    with pytest.raises(ValueNotEncodable, match="contains itself"):
        encode(round_floats(loop, 2))


def test_as_deep_as_values_may_be() -> None:
    deep: Any = 0.1 + 0.2
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert encode(round_floats(deep, 12)) == b"[" * MAX_DEPTH + b"0.3" + b"]" * MAX_DEPTH


def test_keys_that_become_equal_are_refused() -> None:
    with pytest.raises(ValueNotEncodable, match="rounded to 12 digits"):
        round_floats({"a": [{0.1 + 0.2: 1, 0.3: 2}]}, 12)
