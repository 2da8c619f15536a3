"""Strategies for values that have a canonical form, and an independent notion of when two are the same value."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

texts = st.one_of(
    st.text(max_size=8),
    st.text(st.characters(categories=("Cs", "Lu")), max_size=4),  # lone surrogates and neighbors
    st.sampled_from(["", "$", "$int", "$dict", '"', "\\", "\n", "\x00", "\x7f", "\ud83d\ude00", "\U0001f600"]),
)
integers = st.one_of(
    st.integers(),
    st.integers(-3, 3),
    st.integers(-2, 2).flatmap(lambda offset: st.sampled_from([2**53 + offset, -(2**53) + offset])),
    st.sampled_from([400, 4200]).map(lambda exponent: -(10**exponent)),
)
finite_floats = st.floats(allow_nan=False, allow_infinity=False)
floats_without_nan = st.one_of(st.floats(allow_nan=False), st.sampled_from([0.0, -0.0, 1.0, 2.0**53, 1e16]))
hashable_scalars = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    floats_without_nan,
    st.complex_numbers(allow_nan=False),
    texts,
    st.binary(max_size=6),
)


def _hashable_containers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.lists(items, max_size=3).map(tuple), st.frozensets(items, max_size=3))


hashables = st.recursive(hashable_scalars, _hashable_containers, max_leaves=5)
"""What can be a key; without NaNs, of which a dict may hold several although they are one canonical value."""


def _containers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(items, max_size=12),
        st.lists(items, max_size=12).map(tuple),
        st.dictionaries(texts, items, max_size=12),
        st.dictionaries(hashables, items, max_size=4),
    )


values = st.recursive(
    st.one_of(
        hashables,
        st.floats(),
        st.complex_numbers(),
        st.binary(max_size=6).map(bytearray),
        st.sets(hashables, max_size=4),
        st.frozensets(hashables, max_size=4),
    ),
    _containers,
    max_leaves=12,
)


def identity(value: Any) -> Any:
    """Return something that is equal for two values exactly if they are the same value, of the same types."""
    match value:
        case float():
            content: Any = repr(value)
        case complex():
            content = repr(value.real), repr(value.imag)
        case bytearray():
            content = bytes(value)
        case list() | tuple():
            content = tuple(map(identity, value))
        case set() | frozenset():
            content = frozenset(map(identity, value))
        case dict():
            content = frozenset((identity(key), identity(item)) for key, item in value.items())
        case _:
            content = value
    return type(value).__name__, content
