from __future__ import annotations

import pytest

from ec262.adapters.machine.system_entropy import SystemEntropy
from ec262.adapters.memory.entropy import SeededEntropy
from ec262.domain.ports.clock import Entropy


@pytest.mark.parametrize("entropy", [SystemEntropy(), SeededEntropy(1)], ids=["system", "seeded"])
def test_tokens_have_their_size_and_differ(entropy: Entropy) -> None:
    assert len(entropy.token(32)) == 32
    assert entropy.token(32) != entropy.token(32)


def test_one_seed_gives_one_sequence() -> None:
    first, second, other = SeededEntropy(7), SeededEntropy(7), SeededEntropy(8)
    draws = [(entropy.token(8), entropy.token(8)) for entropy in (first, second, other)]
    assert draws[0] == draws[1] != draws[2]
