"""The short cut for pairs of text and scalars gives the bytes that going through them one by one gives, and takes
nothing from strangers that this does not take."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ec262.domain.errors import NotCanonical
from ec262.domain.foreman.data.groups import all_values
from ec262.domain.values import canonical
from ec262.domain.values.pairs import encode_keys, encode_pairs, plain_rows
from ec262.domain.values.plain_pairs import read_plain_pairs
from ec262.domain.work.outcome import Pairs, decode_outcome, encode_outcome

texts = st.text(st.characters() | st.sampled_from('$"\\\n\x7f\u2028\ud800é'), max_size=4)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
odd = st.lists(scalars, max_size=2) | st.binary(max_size=3) | st.tuples(scalars)
keys = st.sampled_from(["a", "b", "é", "\U0001f600", "\uffff", "z\n", ""]) | texts


def one_by_one(pairs: list[tuple[Any, Any]]) -> bytes:
    rows = [(canonical.encode(key), canonical.encode(value)) for key, value in pairs]
    written = [b"[%b,%b]" % row for row in sorted(rows, key=itemgetter(0))]
    return b'["pairs",[%b]]' % b",".join(written)


@given(st.lists(st.tuples(keys, scalars), max_size=12) | st.lists(st.tuples(keys, st.just(1)), max_size=12))
@example([("a", 1), ("b", 2.0), ("a", True), ("a", None), ("b", "x")])
@example([("b", 1), ("a", 1), ("b", 1)])
@example([("b", 1), ("a", True), ("b", 1.0)])
@example([("b", 0.0), ("a", 1.0), ("b", -0.0)])
@example([("b", 2**60), ("b", 2**60)])
@example([("a", 1), ("a#", 1), ("a!", 1), ("a ", 1), ('a"', 1), ("a\n", 1)])
@example([("a", 1), ("a!", 2), ("a", 3), ("a ", 4)])
@example([("a", 1), ("a!", 1), ("a", 1), ("a ", 1)])
@example([("\ud800", 1), ("\ud800", 1)])
def test_plain_pairs_have_the_bytes_of_all_pairs(pairs: list[tuple[Any, Any]]) -> None:
    data = encode_outcome(Pairs(pairs=tuple(pairs)))
    assert data == one_by_one(pairs)
    decoded = decode_outcome(data)
    assert isinstance(decoded, Pairs)
    assert encode_outcome(decoded) == data


@given(st.lists(st.tuples(keys | scalars, scalars | odd), max_size=6))
def test_so_have_those_that_are_no_plain_ones(pairs: list[tuple[Any, Any]]) -> None:
    assert encode_outcome(Pairs(pairs=tuple(pairs))) == one_by_one(pairs)


@given(st.lists(st.tuples(keys, scalars), max_size=12))
def test_keys_and_values_are_encoded_as_each_alone(pairs: list[tuple[Any, Any]]) -> None:
    assert encode_keys(pairs) == [canonical.encode(key) for key, _ in pairs]
    assert encode_pairs(pairs)[1] == [canonical.encode(value) for _, value in pairs]


def test_the_short_cut_is_taken_for_what_most_jobs_yield() -> None:
    assert plain_rows([("b", 1), ("a", 2.5), ("b", None)]) == ['["a",2.5]', '["b",1],["b",null]']
    assert plain_rows([("b", 1), ("a", 1), ("b", 1)]) == ['["a",1]', '["b",1],["b",1]']
    assert plain_rows([("b", 1), ("a", True)]) == ['["a",true]', '["b",1]']


@pytest.mark.parametrize("pairs", [[], [(1, 1)], [("a", [1])], [("a", float("nan"))], [("\ud800", 1)], [("a", 2**60)]])
def test_and_for_nothing_else(pairs: list[tuple[Any, Any]]) -> None:
    assert plain_rows(pairs) is None


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), min_size=1, max_size=5),
    st.integers(0, 60),
    st.sampled_from([b"", b" ", b"0", b"1", b"a", b"]", b"[", b",", b'"', b"\\u0061", b"1.0", b"[]", b"\xff", b"-0"]),
    st.integers(0, 3),
)
@example([("a", 1)], 15, b" ", 0)
@example([("a", 1)], 12, b"\\u0061", 1)
def test_changed_bytes_are_taken_exactly_if_they_are_canonical(
    pairs: list[tuple[str, int]], place: int, put: bytes, cut: int
) -> None:
    whole = encode_outcome(Pairs(pairs=tuple(pairs)))
    data = whole[:place] + put + whole[place + cut :]
    try:
        value = canonical.decode(data)
        rows = value[1] if isinstance(value, list) and len(value) == 2 and value[0] == "pairs" else None
        expected = (
            tuple(map(tuple, rows))
            if isinstance(rows, list) and all(type(row) is list and len(row) == 2 for row in rows)
            else None
        )
    except NotCanonical:
        expected = None
    if expected is None:
        with pytest.raises(NotCanonical):
            decode_outcome(data)
    else:
        assert decode_outcome(data) == Pairs(pairs=expected)


@pytest.mark.parametrize(
    "data", [b'["pairs",[["', b'["pairs",[["a",1]],1]', b'["pairs",[["a"]]]', b'["pairs",[["a",1],2]]']
)
def test_data_that_only_begin_like_pairs_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        decode_outcome(data)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "],[", "é\n"]), scalars), min_size=1, max_size=12))
def test_plain_pairs_are_read_as_they_are_and_grouped_as_all_pairs_are(pairs: list[tuple[str, Any]]) -> None:
    data = encode_outcome(Pairs(pairs=tuple(pairs)))
    decoded = decode_outcome(data)
    assert isinstance(decoded, Pairs)
    plain = read_plain_pairs(data)
    if plain is None:
        return
    assert canonical.encode(list(plain)) == canonical.encode(list(decoded.pairs))
    assert (len(plain), plain[0], plain[1:]) == (len(pairs), plain[:1][0], list(plain)[1:])
    groups = all_values([encode_pairs(list(plain))])
    assert plain.groups() == (sorted(groups), [groups[name] for name in sorted(groups)])


@pytest.mark.parametrize("data", [b'["pairs",[["a",1],["b",2.5],["b",2.5]]]', b'["pairs",[["b",1],["b",2],["a",1]]]'])
def test_those_of_honest_workers_are_read_so_in_any_order(data: bytes) -> None:
    assert read_plain_pairs(data) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'["failure"',
        b'["pairs",[["a",1]',
        b'["pairs",[["a],[b",1]]]',
        b'["pairs",[["\xff",1]]]',
        b'["pairs",[["a",[1]]]]',
        b'["pairs",[["a",1.00]]]',
        b'["pairs",[["a",{"$int":"0x20000000000001"}]]]',
        b'["pairs",[["a",1],[1,1]]]',
        b'["pairs",[["a"]]]',
        b'["pairs",[["a",1]],[]]]',
    ],
)
def test_and_nothing_else_is(data: bytes) -> None:
    assert read_plain_pairs(data) is None


def test_pairs_out_of_order_are_pairs() -> None:
    assert decode_outcome(b'["pairs",[["b",1],["a",2]]]') == Pairs(pairs=(("b", 1), ("a", 2)))
