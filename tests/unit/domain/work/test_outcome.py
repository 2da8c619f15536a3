from __future__ import annotations

from typing import Any

import pytest

from ec262.domain.errors import NotCanonical, ValueNotEncodable
from ec262.domain.values import canonical
from ec262.domain.work.outcome import (
    MAX_FRAMES,
    MAX_TEXT_CHARS,
    Failure,
    Outcome,
    Pairs,
    decode_outcome,
    encode_outcome,
)

FAILURE = Failure(function="mapper", exception="ValueError", row="'a'", frames=(("mapper", 3), ("helper", 12)))


@pytest.mark.parametrize(
    ("outcome", "data"),
    [
        (Pairs(pairs=()), b'["pairs",[]]'),
        (Pairs(pairs=(("a", 1), ((1, 2), [None]))), b'["pairs",[["a",1],[{"$tuple":[1,2]},[null]]]]'),
        (FAILURE, b'["failure","mapper","ValueError","\'a\'",[["mapper",3],["helper",12]]]'),
        (
            Failure(function="job", exception="ModuleNotFoundError", row=None, frames=()),
            b'["failure","job","ModuleNotFoundError",null,[]]',
        ),
    ],
)
def test_an_outcome_has_this_form(outcome: Outcome, data: bytes) -> None:
    assert encode_outcome(outcome) == data
    assert decode_outcome(data) == outcome


def test_pairs_are_sorted_by_key_and_those_of_one_key_stay_in_order() -> None:
    pairs = Pairs(pairs=(("b", 2), ("a", 9), ("b", 1), (10, 0), (9, 0), ("a", 3)))
    assert decode_outcome(encode_outcome(pairs)) == Pairs(
        pairs=(("a", 9), ("a", 3), ("b", 2), ("b", 1), (10, 0), (9, 0))
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "pairs",
        ["pairs"],
        ("pairs", []),
        ["pairs", ()],
        ["pairs", {}],
        ["pairs", "ab"],
        ["pairs", [], []],
        ["other", []],
        ["pairs", [["a"]]],
        ["pairs", [["a", 1, 2]]],
        ["pairs", [["a", 1], ("a", 1)]],
        ["pairs", ["ab"]],
        ["failure", "mapper", "E", None],
        ("failure", "mapper", "E", None, []),
        ["failure", "main", "E", None, []],
        ["failure", ["mapper"], "E", None, []],
        ["failure", "mapper", 1, None, []],
        ["failure", "mapper", "E", 1, []],
        ["failure", "mapper", "E", None, ()],
        ["failure", "mapper", "E", None, [("f", 1)]],
        ["failure", "mapper", "E", None, [["f"]]],
        ["failure", "mapper", "E", None, [["f", True]]],
        ["failure", "mapper", "E", None, [["f", 1.0]]],
        ["failure", "mapper", "E", None, [["f", -1]]],
        ["failure", "mapper", "E", None, [[1, 1]]],
        ["failure", "mapper", "E", None, [["f" * (MAX_TEXT_CHARS + 1), 1]]],
        ["failure", "mapper", "E", None, [["f", 1]] * (MAX_FRAMES + 1)],
        ["failure", "mapper", "E" * (MAX_TEXT_CHARS + 1), None, []],
        ["failure", "mapper", "E", "r" * (MAX_TEXT_CHARS + 1), []],
    ],
)
def test_other_values_are_not_outcomes(value: Any) -> None:
    with pytest.raises(NotCanonical):
        decode_outcome(canonical.encode(value))


def test_bytes_that_are_not_a_value_are_not_an_outcome() -> None:
    with pytest.raises(NotCanonical):
        decode_outcome(b'["pairs", []]')


def test_an_unencodable_pair_names_its_key_and_the_type() -> None:
    fine = tuple((f"key {i}", i) for i in range(20))
    with pytest.raises(ValueNotEncodable, match=r"the value of the key 'odd': .*complexity.*at \[1\]") as caught:
        encode_outcome(Pairs(pairs=(*fine, ("odd", [1, type("complexity", (), {})()]))))
    assert caught.value.type_name.endswith("complexity")
    with pytest.raises(ValueNotEncodable, match=r"the key <object object"):
        encode_outcome(Pairs(pairs=(*fine, (object(), 1))))


def test_every_valid_outcome_can_be_decoded() -> None:
    deep: list[Any] = []
    for _ in range(canonical.MAX_DEPTH - 4):
        deep = [deep]
    pairs = Pairs(pairs=(("a", deep),))
    assert decode_outcome(encode_outcome(pairs)) == pairs
    with pytest.raises(ValueNotEncodable, match="deep"):
        encode_outcome(Pairs(pairs=(("a", [deep]),)))
