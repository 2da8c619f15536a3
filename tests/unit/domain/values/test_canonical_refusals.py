from __future__ import annotations

import array
import datetime
import enum
from collections import Counter, OrderedDict, defaultdict
from typing import Any, NamedTuple

import pytest

from ec262.domain.errors import NotCanonical, ValueNotEncodable
from ec262.domain.values import canonical


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: int


class Word(str):
    __slots__ = ()


class Fraction(float):
    """Stands for numpy's float64: a subclass of float that says how to be converted."""

    def tolist(self) -> float:
        return float(self)


SELF_LIST: list[Any] = []
SELF_LIST.append(SELF_LIST)
SELF_WIDE: list[Any] = []
SELF_WIDE.extend([SELF_WIDE] * 1000)
SELF_DICT: dict[str, Any] = {}
SELF_DICT["me"] = (SELF_DICT,)


def refusal(value: Any) -> ValueNotEncodable:
    with pytest.raises(ValueNotEncodable) as caught:
        canonical.encode(value)
    return caught.value


@pytest.mark.parametrize(
    ("value", "type_name", "hint"),
    [
        (Color.RED, f"{__name__}.Color", ".value"),
        (Level.LOW, f"{__name__}.Level", ".value"),
        (Point(1, 2), f"{__name__}.Point", "tuple(...)"),
        (Word("a"), f"{__name__}.Word", "str(...)"),
        (Fraction(0.5), f"{__name__}.Fraction", ".tolist()"),
        (array.array("i", [1]), "array.array", ".tolist()"),
        (Counter("a"), "collections.Counter", "dict(...)"),
        (defaultdict(int), "collections.defaultdict", "dict(...)"),
        (OrderedDict(), "collections.OrderedDict", "dict(...)"),
        (range(3), "range", "list(...)"),
        (iter([]), "list_iterator", "list(...)"),
        (memoryview(b""), "memoryview", ".tolist()"),
        (datetime.date(2012, 1, 1), "datetime.date", "supported types: NoneType, bool, int"),
        (object(), "object", "supported types"),
        (int, "type", "supported types"),
        (..., "ellipsis", "supported types"),
    ],
)
def test_other_types_are_refused_with_a_hint(value: Any, type_name: str, hint: str) -> None:
    error = refusal([value])
    assert error.type_name == type_name
    assert type_name in str(error)
    assert hint in error.reason
    assert error.where == "[0]"


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (object(), ""),
        ([0, 1, {"a": object()}], "[2]['a']"),
        ((1, object()), "[1]"),
        ([0] * 20 + [object()], "[20]"),
        ({"b": 1, 2: [object()]}, "[2][0]"),
        ({(1, object()): 1}, ".keys()[1]"),
        ([{object()}], "[0]{...}"),
        ({frozenset({object()}): 1}, ".keys(){...}"),
        ({"k" * 100: object()}, f"['{'k' * 59}...]"),
        (SELF_LIST, "[0]" * 66 + "[0..."),
    ],
)
def test_a_refusal_tells_where(value: Any, where: str) -> None:
    error = refusal(value)
    assert error.where == where
    assert str(error).endswith(f"(at {where})" if where else error.reason)


@pytest.mark.parametrize("value", [SELF_LIST, SELF_WIDE, SELF_DICT], ids=["list", "wide list", "dict"])
def test_recursive_values_are_refused(value: Any) -> None:
    assert "contains itself" in refusal(value).reason


def test_values_nested_too_deep_are_refused_at_their_destination() -> None:
    value: list[Any] = []
    for _ in range(canonical.MAX_DEPTH - 1):
        value = [value]
    canonical.encode(value)
    refusal([value])
    with pytest.raises(ValueNotEncodable, match="deep"):
        canonical.encode(value, around=1)
    with pytest.raises(ValueNotEncodable, match="deep"):
        canonical.encode_each([value], around=1)


def test_the_short_cut_keeps_to_the_depth_it_is_given() -> None:
    value: Any = [1] * 10
    for _ in range(canonical.MAX_DEPTH - 1):
        value = [value]
    canonical.encode(value)
    wide: Any = [[1]] * 10
    for _ in range(canonical.MAX_DEPTH - 1):
        wide = [wide]
    refusal(wide)


def test_several_nans_in_a_set_or_as_keys_are_refused() -> None:
    nans = [float("nan"), float("nan")]
    for value in (set(nans), frozenset(nans), dict.fromkeys(nans), {(nan,) for nan in nans}):
        assert "NaN" in refusal(value).reason


def test_lists_that_are_there_many_times_are_encoded_each_time() -> None:
    inner = [1, "a"]
    row = {"b": [inner] * 3}
    assert canonical.encode([row] * 10) == b"[" + b",".join([b'{"b":[[1,"a"],[1,"a"],[1,"a"]]}'] * 10) + b"]"


def test_a_refusal_beneath_a_huge_number_as_key_is_reported_as_such() -> None:
    pair = b'[{"$int":"0x' + b"1" * 5000 + b'"},' + b"[" * 101 + b"]" * 101 + b"]"
    with pytest.raises(NotCanonical, match=r"nested more than 100 levels deep.*at \[<int>\]"):
        canonical.decode(b'{"$dict":[' + pair + b"]}")
