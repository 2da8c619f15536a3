"""Pauses before a call is repeated.

They are partly random. A service that restarts has lost all its clients at the same moment: after fixed pauses they
would all come back at the same moments, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from ec262.domain.ports.clock import Entropy

LEAST_SHARE = 0.5
"""The least share of a pause that is waited for."""

_BYTES = 4


def growing(first_s: float, longest_s: float, entropy: Entropy) -> Iterator[float]:
    """Yield pauses without end. Each is scattered below a time that doubles from ``first_s`` up to ``longest_s``."""
    pause_s = first_s
    while True:
        yield scattered(min(pause_s, longest_s), entropy)
        pause_s = min(2 * pause_s, longest_s)


def scattered(pause_s: float, entropy: Entropy) -> float:
    """Return a random time from ``LEAST_SHARE`` of a pause to all of it."""
    chance = int.from_bytes(entropy.token(_BYTES), "big") / (1 << 8 * _BYTES)
    return pause_s * (LEAST_SHARE + (1 - LEAST_SHARE) * chance)
