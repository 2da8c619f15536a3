from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec262.adapters.sandbox.grouping import Grouping
from ec262.domain.errors import ValueNotEncodable
from ec262.domain.values import canonical
from tests.property.canonical_values import identity, values

keys = st.one_of(st.sampled_from(["a", "b", "\ud800", 1, True, 1.0, (1,), None]), values)


@given(st.lists(st.lists(st.tuples(keys, st.integers()), max_size=5), max_size=4))
def test_values_are_grouped_by_canonical_key_however_they_come(batches: list[list[tuple[Any, int]]]) -> None:
    grouping = Grouping()
    expected: dict[bytes, list[int]] = {}
    for batch in batches:
        grouping.add(batch)
        for key, value in batch:
            expected.setdefault(canonical.encode(key), []).append(value)
    rows = grouping.rows()
    assert [(canonical.encode(key), list(group)) for key, group in rows] == sorted(expected.items())


def test_of_equal_keys_the_first_is_kept() -> None:
    first, second = [1.0], [1.0]
    grouping = Grouping()
    grouping.add([(first, 1)])
    grouping.add([(second, 2)])
    ((key, group),) = grouping.rows()
    assert key is first
    assert identity(group) == identity((1, 2))


def test_a_key_without_canonical_form_is_refused() -> None:
    with pytest.raises(ValueNotEncodable):
        Grouping().add([("a", 1), (object(), 2)])
