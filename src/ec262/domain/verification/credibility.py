"""How likely a worker, or workers who say the same, are wrong: an estimate from how often they were right before.

The reasoning is Sarmenta's (L. F. G. Sarmenta, "Sabotage-tolerance mechanisms for volunteer computing systems", Future
Generation Computer Systems 18(4), 2002): a worker that passed ``n`` checks and failed none lies with a probability that
falls with ``n``, whatever its rate of lying, because who lies often is soon caught. Two things are taken more
strictly. Saboteurs may collude, all lying in the same tasks, so that the word of two is not two words; and the rate
may be small, in which case its damage is, so that rates below ``LEAST_RATE`` are left to the audits that never stop.

With prior odds ``ODDS`` that a worker is a saboteur, and saboteurs who lie in a share ``s`` of all tasks, ``m`` workers
that were right ``n`` times in all are wrong together with odds of at most

    max over s of  ODDS ** m * s * (1 - s) ** n
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

import attrs

SABOTEURS = 0.2
"""The share of saboteurs among workers of whom nothing is known: Sarmenta's and iExec's assumption, too."""

ODDS = SABOTEURS / (1 - SABOTEURS)

LEAST_RATE = 0.1
"""Saboteurs are taken to lie at least in so many of their tasks."""

MOST_AGREED = 200.0
"""What is known of a worker does not grow beyond so many tasks."""

RECENT = 10.0
"""After an alarm nobody's word suffices alone who was not right beside others so often since."""

Digest = TypeVar("Digest", bound=Hashable)


@attrs.frozen(kw_only=True)
class Trust:
    """How far a worker is known: in how many tasks it was right beside others (older ones count for less), and in how
    many of them since the last alarm. Without an alarm these are the same."""

    agreed: float = 0.0
    recent: float = 0.0


NOTHING_KNOWN = Trust()

ANCHORED = Trust(agreed=MOST_AGREED, recent=MOST_AGREED)
"""How far workers are known that the operator vouches for: anchors."""

ESTABLISHED = 10.0
"""A worker is established that was right so often beside others."""


def alone_suffices(trust: Trust) -> bool:
    """Tell whether an alarm does not stand against believing a worker alone."""
    return trust.recent >= RECENT


def weight(group: Sequence[Trust]) -> float:
    """Return the logarithm of the odds that workers who say the same are right, at least."""
    return _weight(len(group), sum([min(trust.agreed, MOST_AGREED) for trust in group]))


@lru_cache(maxsize=1024)
def _weight(count: int, agreed: float) -> float:
    """Return the weight of so many; it is asked for again and again for the same who take part in a batch."""
    rate = max(LEAST_RATE, 1 / (agreed + 1))
    # Of what is so old that it is worth next to nothing, the rate is 1 in floating point.
    caught = agreed * math.log1p(-rate) if rate < 1 else 0.0
    return -count * math.log(ODDS) - math.log(rate) - caught


def confidences(groups: Mapping[Digest, Sequence[Trust]]) -> dict[Digest, float]:
    """Return the probability of each digest to be right, given who supports it: one of them is, or none."""
    return dict(zip(groups, _shares(tuple([weight(group) for group in groups.values()])), strict=True))


@lru_cache(maxsize=1024)
def _shares(weights: tuple[float, ...]) -> tuple[float, ...]:
    """Return the probabilities of rivals of these weights, which are those of many tasks of a batch, likewise."""
    total = _sum_of_exponentials([0.0, *weights])
    return tuple([math.exp(each - total) for each in weights])


def error_bound(group: Sequence[Trust], rivals: Sequence[Sequence[Trust]] = ()) -> float:
    """Return the probability that workers who say the same are wrong, beside rivals who say other things."""
    others = [0.0, *(weight(rival) for rival in rivals)]
    return math.exp(_sum_of_exponentials(others) - _sum_of_exponentials([*others, weight(group)]))


@lru_cache(maxsize=256)
def agreed_alone(error: float) -> float:
    """Return in how many tasks a worker must have been right for its word alone to be wrong with this probability at
    most; infinity if no number suffices. The more it was right, the less likely it is wrong."""
    low, high = 0.0, MOST_AGREED
    if error_bound([Trust(agreed=high)]) > error:
        return math.inf
    while low < (middle := (low + high) / 2) < high:
        if error_bound([Trust(agreed=middle)]) <= error:
            high = middle
        else:
            low = middle
    return high


def _sum_of_exponentials(logarithms: Sequence[float]) -> float:
    """Return the logarithm of the sum."""
    most = max(logarithms)
    return most + math.log(math.fsum(math.exp(each - most) for each in logarithms))
