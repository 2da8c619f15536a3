from __future__ import annotations

import attrs
import pytest

from ec262.domain.discovery.pool.beginners import who_makes_way
from ec262.domain.discovery.pool.pool import Member
from ec262.domain.errors import DiscoveryUnavailable
from tests.stored import member


def of_block(block: str, name: str, *, expires_at: float = 100.0) -> Member:
    return attrs.evolve(member(name, expires_at=expires_at), block=block)


FLOOD = [of_block("a", "a1"), of_block("a", "a2", expires_at=90), of_block("a", "a3")]
OTHERS = [of_block("b", "b1", expires_at=10), of_block("b", "b2", expires_at=11)]


def test_no_worker_is_displaced_while_there_are_places() -> None:
    assert who_makes_way(of_block("a", "a9"), [*FLOOD, *OTHERS], places=6) is None


def test_the_largest_block_loses_the_lease_that_ends_first() -> None:
    assert who_makes_way(of_block("c", "c1"), [*FLOOD, *OTHERS], places=5) == FLOOD[1]


@pytest.mark.parametrize("block", ["a", "b"])
def test_a_source_with_as_many_as_the_largest_block_finds_no_place(block: str) -> None:
    with pytest.raises(
        DiscoveryUnavailable, match="all 5 places for workers that have not earned anything yet are taken"
    ):
        who_makes_way(of_block(block, "late"), [*FLOOD, *OTHERS], places=5)


def test_no_worker_is_displaced_if_each_has_its_own_block() -> None:
    with pytest.raises(DiscoveryUnavailable):
        who_makes_way(of_block("c", "c1"), [of_block("a", "a1"), of_block("b", "b1")], places=2)
