from __future__ import annotations

from typing import Any

import pytest

from ec262.domain.errors import BadDelivery, ValueNotEncodable
from ec262.domain.legacy_2012.results_2012 import decode_result, encode_result


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({}, b"[]"),
        ({"b": 2, "a": 1}, b'[["a", 1], ["b", 2]]'),
        ({"é": "ü\n"}, rb'[["\u00e9", "\u00fc\n"]]'),
        ({2: [1.5, None, True], 10: {"x": []}}, b'[[2, [1.5, null, true]], [10, {"x": []}]]'),
    ],
)
def test_results_are_sorted_pairs_in_json(result: dict[Any, Any], text: bytes) -> None:
    assert encode_result(result) == text
    assert decode_result(text) == result
    assert decode_result(text + b" " * 16) == result


def test_json_keeps_no_tuples() -> None:
    assert decode_result(encode_result({"a": (1, 2)})) == {"a": [1, 2]}


@pytest.mark.parametrize("result", [{"a": 1, 2: 3}, {"a": object()}, {"a": b"x"}, {"a": {1, 2}}])
def test_values_that_json_lacks_are_reported(result: dict[Any, Any]) -> None:
    with pytest.raises(ValueNotEncodable):
        encode_result(result)


def test_an_endless_value_is_reported() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueNotEncodable):
        encode_result({"a": endless})


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"null", b"7", b'{"a": 1}', b'["ab"]', b"[[1]]", b"[[1, 2, 3]]", b"[[[], 1]]", b"[1, 2]", b"[[1, 2]"),
        *(b"\xff", b"[" * 100_000),
    ],
)
def test_a_delivery_that_is_not_a_list_of_pairs_is_bad(text: bytes) -> None:
    with pytest.raises(BadDelivery):
        decode_result(text)
