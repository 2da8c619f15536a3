from __future__ import annotations

import pytest

from ec262.adapters.entropy import SystemEntropy
from ec262.adapters.memory.entropy import SeededEntropy
from ec262.domain.ports.clock import Entropy


@pytest.mark.parametrize("entropy", [SystemEntropy(), SeededEntropy(1)], ids=["system", "seeded"])
def test_entropy(entropy: Entropy) -> None:
    items = list(range(50))
    assert sorted(entropy.shuffled(items)) == items
    assert entropy.shuffled(items) != entropy.shuffled(items)
    assert items == list(range(50))
    assert entropy.shuffled([]) == []
    assert len(entropy.token(32)) == 32
    assert entropy.token(32) != entropy.token(32)


def test_every_order_comes_up() -> None:
    entropy = SystemEntropy()
    assert len({tuple(entropy.shuffled("abc")) for _ in range(500)}) == 6


def test_one_seed_gives_one_sequence() -> None:
    first, second, other = SeededEntropy(7), SeededEntropy(7), SeededEntropy(8)
    draws = [(e.token(8), e.shuffled(range(9)), e.token(8)) for e in (first, second, other)]
    assert draws[0] == draws[1] != draws[2]
