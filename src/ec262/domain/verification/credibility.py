"""Estimates how likely workers that committed the same digest are wrong, from how often they were right before.

The reasoning is Sarmenta's (L. F. G. Sarmenta, "Sabotage-tolerance mechanisms for volunteer computing systems", Future
Generation Computer Systems 18(4), 2002): a worker that passed ``n`` checks and failed none lies with a probability that
falls with ``n`` at any rate of lying, because frequent liars are caught soon. This module differs in two ways.
Saboteurs may collude and lie in the same tasks, so two commitments are not independent evidence. And a low rate of
lying does little damage, so rates below ``LEAST_RATE`` are left to the audits, which never stop.

Let ``ODDS`` be the prior odds that a worker is a saboteur, and let saboteurs lie in a share ``s`` of all tasks. If
``m`` workers were right ``n`` times in total, the odds that all of them are wrong are at most

    max over s of  ODDS ** m * s * (1 - s) ** n
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

import attrs

SABOTEURS = 0.2
"""The assumed share of saboteurs among newcomers. Sarmenta and iExec assume the same."""

ODDS = SABOTEURS / (1 - SABOTEURS)

LEAST_RATE = 0.1
"""Saboteurs are assumed to lie in at least this share of their tasks."""

MOST_AGREED = 200.0
"""A worker's record does not grow beyond this many tasks."""

RECENT = 10.0
"""After an alarm, a worker is not trusted on its own until it has reached this many agreements again."""

Digest = TypeVar("Digest", bound=Hashable)


@attrs.frozen(kw_only=True)
class Trust:
    """A worker's agreements: all of them (older ones count for less), and those since the last alarm. Without an alarm,
    the two are equal."""

    agreed: float = 0.0
    recent: float = 0.0


NOTHING_KNOWN = Trust()

ANCHORED = Trust(agreed=MOST_AGREED, recent=MOST_AGREED)
"""The trust in anchors: workers that the operator vouches for."""

ESTABLISHED = 10.0
"""A worker with this many agreements is established."""


def alone_suffices(trust: Trust) -> bool:
    """Return whether a worker may be trusted on its own as far as alarms are concerned."""
    return trust.recent >= RECENT


def weight(group: Sequence[Trust]) -> float:
    """Return a lower bound for the logarithm of the odds that workers that agree are right."""
    return _weight(len(group), sum([min(trust.agreed, MOST_AGREED) for trust in group]))


@lru_cache(maxsize=1024)
def _weight(count: int, agreed: float) -> float:
    """Return the weight of ``count`` workers. Cached, since the same workers take part in many tasks of a batch."""
    rate = max(LEAST_RATE, 1 / (agreed + 1))
    # If the record is so old that it counts for almost nothing, the rate is 1 in floating point.
    caught = agreed * math.log1p(-rate) if rate < 1 else 0.0
    return -count * math.log(ODDS) - math.log(rate) - caught


def confidences(groups: Mapping[Digest, Sequence[Trust]]) -> dict[Digest, float]:
    """Return for each digest the probability that it is right, given its supporters. At most one digest is right."""
    return dict(zip(groups, _shares(tuple([weight(group) for group in groups.values()])), strict=True))


@lru_cache(maxsize=1024)
def _shares(weights: tuple[float, ...]) -> tuple[float, ...]:
    """Return the probabilities of rivals with these weights. Cached for the same reason."""
    total = _sum_of_exponentials([0.0, *weights])
    return tuple([math.exp(each - total) for each in weights])


def error_bound(group: Sequence[Trust], rivals: Sequence[Sequence[Trust]] = ()) -> float:
    """Return the probability that workers that agree are wrong, given rivals that committed other digests."""
    others = [0.0, *(weight(rival) for rival in rivals)]
    return math.exp(_sum_of_exponentials(others) - _sum_of_exponentials([*others, weight(group)]))


@lru_cache(maxsize=256)
def agreed_alone(error: float) -> float:
    """Return how many agreements a worker needs so that, on its own, it is wrong with at most this probability;
    infinity if no number suffices. The probability falls with each agreement."""
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
    """Return the logarithm of the sum of the exponentials."""
    most = max(logarithms)
    return most + math.log(math.fsum(math.exp(each - most) for each in logarithms))
