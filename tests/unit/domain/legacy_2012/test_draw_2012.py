from __future__ import annotations

from collections import Counter

from ec262.adapters.memory.entropy import SeededEntropy
from ec262.domain.legacy_2012.addresses_2012 import Endpoint2012
from ec262.domain.legacy_2012.draw_2012 import draw

POOL = [Endpoint2012(addr=f"10.0.0.{number}", port=1) for number in range(6)]


def test_everybody_can_be_drawn_once() -> None:
    drawn = draw(POOL, 6, SeededEntropy())
    assert sorted(drawn, key=POOL.index) == POOL
    assert draw(POOL, 0, SeededEntropy()) == []
    assert draw([], 0, SeededEntropy()) == []


def test_the_pool_stays_as_it_is() -> None:
    pool = list(POOL)
    draw(pool, 6, SeededEntropy())
    assert pool == POOL


def test_every_place_is_drawn_by_lot() -> None:
    entropy = SeededEntropy(5)
    rounds = 1200
    places = [Counter[str]() for _ in range(3)]
    for _ in range(rounds):
        for place, worker in zip(places, draw(POOL, 3, entropy), strict=True):
            place[worker.addr] += 1
    for place in places:
        assert len(place) == len(POOL)
        assert all(rounds / 6 * 0.7 < count < rounds / 6 * 1.3 for count in place.values())
