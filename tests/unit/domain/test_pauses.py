from __future__ import annotations

from itertools import islice

import pytest

from ec262.adapters.memory.entropy import SeededEntropy
from ec262.domain.pauses import LEAST_SHARE, growing, scattered


class Extreme:
    """An entropy that gives the least or the most."""

    def __init__(self, byte: bytes) -> None:
        self._byte = byte

    def token(self, size_bytes: int) -> bytes:
        return self._byte * size_bytes


@pytest.mark.parametrize(("byte", "share"), [(b"\0", LEAST_SHARE), (b"\xff", 1.0)])
def test_pauses_grow_up_to_the_longest(byte: bytes, share: float) -> None:
    pauses = list(islice(growing(1.0, 5.0, Extreme(byte)), 5))
    assert pauses == pytest.approx([share * pause_s for pause_s in (1.0, 2.0, 4.0, 5.0, 5.0)])


def test_clients_that_wait_since_the_same_moment_retry_at_different_moments() -> None:
    clients = [list(islice(growing(0.1, 2.0, SeededEntropy(seed)), 8)) for seed in range(100)]
    for attempt in range(8):
        moments = sorted(sum(pauses[: attempt + 1]) for pauses in clients)
        busiest = max(sum(at <= moment < at + 0.1 * moments[-1] for moment in moments) for at in moments)
        assert len(set(moments)) == 100
        assert busiest < 60


def test_a_pause_is_scattered_over_half_of_it() -> None:
    entropy = SeededEntropy(1)
    pauses = [scattered(10.0, entropy) for _ in range(1000)]
    assert 5.0 <= min(pauses) < 5.1
    assert 9.9 < max(pauses) <= 10.0
