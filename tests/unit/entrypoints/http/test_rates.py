"""Token buckets, and who fills them."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from ec262.adapters.memory.clock import ManualClock
from ec262.domain.errors import TooManyRequests
from ec262.entrypoints.http.rates import Buckets, Rate, RateLimits, rate_limits
from ec262.entrypoints.shared.settings import DiscoverySettings

ADDRESS = "192.0.2.1"


def token(number: int) -> str:
    return f"token-{number:04}-" + "t" * 32


def generous() -> RateLimits:
    """The limits of a service whose operator has set none."""
    limits = rate_limits(DiscoverySettings(), ManualClock())
    assert limits is not None
    return limits


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = ManualClock()
    buckets = Buckets(Rate(per_s=2, burst=3), clock)
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    clock.advance(0.25)
    assert buckets.take("a") == pytest.approx(0.25)
    clock.advance(0.25)
    assert [buckets.take("a"), buckets.take("a")] == [0, 0.5]
    assert buckets.take("b") == 0


def test_a_bucket_overflows() -> None:
    clock = ManualClock()
    buckets = Buckets(Rate(per_s=1, burst=2), clock)
    buckets.take("a")
    clock.advance(1e9)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 1]


def test_buckets_are_bounded_and_the_busiest_stay() -> None:
    buckets = Buckets(Rate(per_s=1, burst=1), ManualClock(), most=3)
    buckets.take("busy")
    for number in range(100):
        buckets.take(f"passer-by {number}")
        assert buckets.take("busy") > 0
        assert len(buckets) <= 3


def test_an_account_is_limited_wherever_it_asks_from() -> None:
    limits = RateLimits(Rate(per_s=1, burst=3), ManualClock())
    for number in range(3):
        limits.check(f"192.0.2.{number}", token(1), opens_account=False)
    with pytest.raises(TooManyRequests, match=r"this account sends requests too often: wait 1\.0 s") as refused:
        limits.check("192.0.2.9", token(1), opens_account=False)
    assert refused.value.retry_after_s == 1
    limits.check("192.0.2.9", token(2), opens_account=False)


def test_an_address_is_limited_whatever_tokens_it_makes_up() -> None:
    limits = RateLimits(Rate(per_s=1, burst=3), ManualClock())
    for number in range(30):
        limits.check(ADDRESS, token(number), opens_account=False)
    with pytest.raises(TooManyRequests, match="this address sends requests too often"):
        limits.check(ADDRESS, token(99), opens_account=False)
    with pytest.raises(TooManyRequests):
        limits.check(ADDRESS, "", opens_account=False)
    limits.check("192.0.2.2", "", opens_account=False)


def test_a_refused_request_takes_nothing_from_its_account() -> None:
    clock = ManualClock()
    limits = RateLimits(Rate(per_s=1, burst=1), clock)
    for number in range(10):
        limits.check(ADDRESS, token(number), opens_account=False)
    with pytest.raises(TooManyRequests, match="address"):
        limits.check(ADDRESS, token(99), opens_account=False)
    limits.check("192.0.2.2", token(99), opens_account=False)


def test_one_ipv6_network_counts_as_one_address() -> None:
    limits = RateLimits(Rate(per_s=1, burst=1), ManualClock())
    network = int(IPv6Address("2001:db8::"))
    for number in range(10):
        limits.check(str(IPv6Address(network + number)), "", opens_account=False)
    with pytest.raises(TooManyRequests):
        limits.check(str(IPv6Address(network + 1_000_000)), "", opens_account=False)
    limits.check(str(IPv6Address(network + (1 << 64))), "", opens_account=False)


def test_connections_without_an_address_are_one() -> None:
    limits = RateLimits(Rate(per_s=1, burst=1), ManualClock())
    for _ in range(10):
        limits.check("", "", opens_account=False)
    with pytest.raises(TooManyRequests):
        limits.check("", "", opens_account=False)


def test_opening_accounts_is_limited_by_address() -> None:
    limits = generous()
    for number in range(300):
        limits.check(ADDRESS, token(number), opens_account=True)
    with pytest.raises(TooManyRequests, match=r"this address opens accounts too often: wait 1\.0 s"):
        limits.check(ADDRESS, token(999), opens_account=True)
    limits.check(ADDRESS, token(1), opens_account=False)


def test_a_large_job_behind_one_address_is_never_limited() -> None:
    """1,000 tasks of three replicas each on 30 workers, in no time at all, three calls a replica, none of them a batch:
    far more than really comes."""
    limits = generous()
    for member in range(31):
        limits.check(ADDRESS, token(member), opens_account=True)
    for call in range(3 * 3000):
        limits.check(ADDRESS, token(call % 30), opens_account=False)
    for _ in range(500):
        limits.check(ADDRESS, token(30), opens_account=False)


def test_a_rate_of_zero_means_no_limit() -> None:
    assert rate_limits(DiscoverySettings(rate=0), ManualClock()) is None
