"""Pauses before retries.

They are partly random. When a service restarts, it loses all its clients at once. After fixed pauses they would also
return all at once.
"""

from __future__ import annotations

from collections.abc import Iterator

from ec262.domain.ports.clock import Entropy

LEAST_SHARE = 0.5
"""The smallest share of a pause that is actually waited."""

_BYTES = 4


def growing(first_s: float, longest_s: float, entropy: Entropy) -> Iterator[float]:
    """Yield pauses forever. Their upper limit doubles from ``first_s`` to ``longest_s``; each is random below it."""
    pause_s = first_s
    while True:
        yield scattered(min(pause_s, longest_s), entropy)
        pause_s = min(2 * pause_s, longest_s)


def scattered(pause_s: float, entropy: Entropy) -> float:
    """Return a random time between ``LEAST_SHARE`` of a pause and the whole pause."""
    chance = int.from_bytes(entropy.token(_BYTES), "big") / (1 << 8 * _BYTES)
    return pause_s * (LEAST_SHARE + (1 - LEAST_SHARE) * chance)
