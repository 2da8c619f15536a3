"""Rate limits of requests: token buckets for each account and each address."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import attrs

from ec262.domain.errors import TooManyRequests
from ec262.domain.protocol.networks import customer
from ec262.entrypoints.shared.settings import DiscoverySettings

MAX_BUCKETS = 20_000
"""Number of buckets of each kind, about 6 MB. The least recently used one is dropped, which at worst refills it."""

ADDRESS_FACTOR = 10
"""An address may send as many requests as this number of accounts: a whole laboratory may share it."""

OPENINGS_PER_S, OPENINGS_AT_ONCE = 1.0, 300
"""How often an address may open an account or return to one, which every new process does."""


@attrs.frozen(kw_only=True)
class Rate:
    """``per_s`` requests per second in the long run, ``burst`` at once."""

    per_s: float = attrs.field(validator=attrs.validators.gt(0))
    burst: float = attrs.field(validator=attrs.validators.ge(1))


class Buckets:
    """One bucket per name: each request takes a token, and new tokens arrive over time."""

    def __init__(self, rate: Rate, clock: Callable[[], float], *, most: int = MAX_BUCKETS) -> None:
        self._rate = rate
        self._clock = clock
        self._most = most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Tokens, and when they were counted; the most recently used is last."""

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str) -> float:
        """Take a token and return 0; if there is none, return the seconds until the next one."""
        now = self._clock()
        tokens, counted = self._buckets.pop(name, (self._rate.burst, now))
        tokens = min(self._rate.burst, tokens + (now - counted) * self._rate.per_s)
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._rate.per_s
        self._buckets[name] = tokens - (wait_s == 0), now
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return wait_s


class RateLimits:
    """The limits of one service."""

    def __init__(self, account: Rate, clock: Callable[[], float]) -> None:
        address = Rate(per_s=account.per_s * ADDRESS_FACTOR, burst=account.burst * ADDRESS_FACTOR)
        opening = Rate(per_s=OPENINGS_PER_S, burst=OPENINGS_AT_ONCE)
        self._accounts = Buckets(account, clock)
        self._addresses = Buckets(address, clock)
        self._openings = Buckets(opening, clock)

    def check(self, address: str, token: str, *, opens_account: bool) -> None:
        """Count a request. Raises TooManyRequests.

        The bearer token represents the account, which has not been looked up yet; a client that makes up tokens is
        still counted by address.
        """
        place = customer(address)
        _take(self._addresses, place, "this address sends requests")
        if opens_account:
            _take(self._openings, place, "this address opens accounts")
        if token:
            _take(self._accounts, hashlib.sha256(token.encode()).hexdigest(), "this account sends requests")


def rate_limits(settings: DiscoverySettings, clock: Callable[[], float]) -> RateLimits | None:
    """Make the limits in the settings; None means no limits."""
    if settings.rate == 0:
        return None
    return RateLimits(Rate(per_s=settings.rate, burst=settings.burst), clock)


def _take(buckets: Buckets, name: str, who: str) -> None:
    wait_s = buckets.take(name)
    if wait_s:
        raise TooManyRequests(f"{who} too often: wait {wait_s:.1f} s", retry_after_s=wait_s)
