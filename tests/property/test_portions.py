"""An outcome in portions is the outcome, and what is no outcome is none in portions."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec262.domain.errors import NotCanonical
from ec262.domain.foreman.data.portions import portions, read_ending
from ec262.domain.work.outcome import Failure, Pairs, decode_outcome, encode_outcome
from tests.property.canonical_values import identity, values

# Strings and lists that look like the places between rows.
tricky = st.one_of(values, st.text(alphabet='],["\\{}: ', max_size=12), st.lists(st.lists(st.integers(), max_size=2)))
outcomes = st.lists(st.tuples(st.text(max_size=3), tricky), max_size=12).map(
    lambda pairs: encode_outcome(Pairs(pairs=tuple(pairs)))
)
FAILURE = encode_outcome(Failure(function="mapper", exception="E", row=None, frames=()))


def read(data: bytes, portion_bytes: int) -> list[Any]:
    return list(itertools.chain.from_iterable(portions(data, portion_bytes)))


@given(outcomes, st.integers(1, 80))
def test_portions_are_the_outcome_one_behind_the_other(data: bytes, portion_bytes: int) -> None:
    whole = decode_outcome(data)
    assert isinstance(whole, Pairs)
    assert identity(read(data, portion_bytes)) == identity(list(whole.pairs))
    assert read_ending(data) is None


@given(outcomes, st.integers(1, 80), st.data())
def test_invalid_outcomes_are_refused_in_portions_too(data: bytes, portion_bytes: int, draw: Any) -> None:
    start = draw.draw(st.integers(0, len(data)))
    stop = draw.draw(st.integers(start, len(data)))
    changed = data[:start] + draw.draw(st.sampled_from([b"", b",", b"]", b"],[", b"[1,2]", b'"', b" "])) + data[stop:]
    try:
        whole = decode_outcome(changed)
    except NotCanonical:
        with pytest.raises(NotCanonical):
            read(changed, portion_bytes)
        return
    assert isinstance(whole, Pairs)
    assert identity(read(changed, portion_bytes)) == identity(list(whole.pairs))


def test_a_failure_is_read_at_once_and_has_no_pairs() -> None:
    failure = read_ending(FAILURE)
    assert isinstance(failure, Failure)
    assert failure.exception == "E"
    for portion_bytes in (1, 1 << 20):
        with pytest.raises(NotCanonical, match="expected pairs"):
            read(FAILURE, portion_bytes)


@pytest.mark.parametrize("data", [b"", b"[]", b'["paris",[]]', b'["failure",1]'])
def test_invalid_endings_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        read_ending(data)


def test_a_row_full_of_places_that_look_like_ends_takes_no_time() -> None:
    data = encode_outcome(Pairs(pairs=(("a", "],[" * 200_000), ("b", 1))))
    assert [key for key, _ in read(data, 100)] == ["a", "b"]
