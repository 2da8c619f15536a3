"""Pi by Monte Carlo: random numbers that are the same on every honest machine.

    python -m ec262.entrypoints.foreman examples/pi.py --seed 7

Each row's randomness is seeded from the job's seed, the phase and the row's key, so the same seed gives the same pi,
however rows are grouped into tasks, and whichever workers compute them.
"""

import random
from collections.abc import Iterable, Iterator

import ec262

SAMPLES = 50_000

data = dict.fromkeys(range(40), SAMPLES)


@ec262.mapper
def throw_darts(_batch: int, samples: int) -> Iterator[tuple[str, tuple[int, int]]]:
    hits = sum(random.random() ** 2 + random.random() ** 2 <= 1 for _ in range(samples))  # noqa: S311 - not a secret
    yield "pi", (hits, samples)


@ec262.reducer
def estimate(name: str, throws: Iterable[tuple[int, int]]) -> Iterator[tuple[str, float]]:
    hits, samples = (sum(column) for column in zip(*throws, strict=True))
    yield name, 4 * hits / samples
