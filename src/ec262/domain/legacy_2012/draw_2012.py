"""The random draw of workers, without repetition."""

from __future__ import annotations

from collections.abc import Sequence

from ec262.domain.legacy_2012.addresses_2012 import Endpoint2012
from ec262.domain.ports.clock import Entropy

_LOT_BYTES = 8
"""With 64 random bits, the bias of a remainder is too small to be measured."""


def draw(pool: Sequence[Endpoint2012], count: int, entropy: Entropy) -> list[Endpoint2012]:
    """Return ``count`` workers of the pool in random order: the first places of a Fisher-Yates shuffle."""
    deck = list(pool)
    for place in range(count):
        lot = int.from_bytes(entropy.token(_LOT_BYTES), "big")
        other = place + lot % (len(deck) - place)
        deck[place], deck[other] = deck[other], deck[place]
    return deck[:count]
