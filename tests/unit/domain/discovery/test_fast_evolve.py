"""Copies of values with some of their fields changed."""

from __future__ import annotations

import attrs

from ec262.domain.discovery.fast_evolve import fast_evolve
from tests.stored import task


def test_a_copy_is_what_attrs_makes_of_it() -> None:
    given = task()
    before = attrs.evolve(given)
    copy = fast_evolve(given, rule="quorum:2", replicas=given.replicas[:1])
    assert copy == attrs.evolve(given, rule="quorum:2", replicas=given.replicas[:1])
    assert type(copy) is type(given)
    assert given == before
    assert fast_evolve(given) == given
