from __future__ import annotations

import asyncio
import logging
from typing import Any

import attrs
import pytest

from ec262.adapters.memory.entropy import SeededEntropy
from ec262.adapters.memory.surroundings import MemorySurroundings
from ec262.domain.errors import AddressUnreachable, ConfigurationError, DiscoveryUnavailable, NotAuthenticated
from ec262.domain.pauses import LEAST_SHARE
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.worker_calls import Lease, RegisterWorker
from ec262.domain.worker.availability import Availability, IdleRule, Moment, parse_hours
from ec262.services.worker import lease_keeper
from ec262.services.worker.lease_keeper import LeaseKeeper
from ec262.services.worker.worker_policy import WorkerPolicy
from tests.unit.services.worker.worker_doubles import RUNTIME, ScriptedDiscovery

REGISTRATION = RegisterWorker(host="worker.example", port=1, fingerprint="0" * 64, runtime=RUNTIME, ttl_s=60.0)


class Keeping:
    """A keeper at work."""

    def __init__(self, discovery: ScriptedDiscovery, *, lease_s: float = 60.0, **policy: Any) -> None:
        self.surroundings = MemorySurroundings()
        self.stop = asyncio.Event()
        self.joined: list[Lease] = []
        registration = RegisterWorker(
            host="worker.example", port=1, fingerprint="0" * 64, runtime=RUNTIME, ttl_s=lease_s
        )
        owner = WorkerPolicy(release="test", runtime=RUNTIME, retry_s=0.01, max_retry_s=0.01, watch_s=0.01, **policy)
        self.keeper = LeaseKeeper(discovery, self.surroundings, SeededEntropy(), registration, owner)
        self.task = asyncio.create_task(self.keeper.keep(self.stop, on_joined=self.joined.append))

    async def end(self) -> None:
        self.stop.set()
        await self.task


async def test_opens_an_account_and_joins_once() -> None:
    discovery = ScriptedDiscovery()
    keeping = Keeping(discovery)
    await discovery.called("register", 1)
    await asyncio.sleep(0.02)
    await keeping.end()
    assert discovery.calls == ["open_account", "register"]
    assert discovery.registration == REGISTRATION
    assert [lease.worker for lease in keeping.joined] == ["worker-account"]


async def test_renews_three_times_a_lease() -> None:
    discovery = ScriptedDiscovery()
    keeping = Keeping(discovery, lease_s=1.0)
    began = asyncio.get_running_loop().time()
    await discovery.called("register", 3)
    took_s = asyncio.get_running_loop().time() - began
    await keeping.end()
    assert took_s > 2 / lease_keeper.RENEWALS_PER_LEASE * LEAST_SHARE
    assert len(keeping.joined) == 1


class Stingy(ScriptedDiscovery):
    """Grants leases of a second until it was asked three times."""

    async def register(self, command: RegisterWorker) -> Lease:
        lease = await super().register(command)
        return attrs.evolve(lease, expires_in_s=1.0) if self.calls.count("register") < 4 else lease


async def test_follows_the_lease_that_discovery_grants_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ec262")
    discovery = Stingy()
    keeping = Keeping(discovery, lease_s=3600.0)
    await discovery.called("register", 4)  # which an hour's lease would not want for twenty minutes
    await keeping.end()
    there = "in the pool as worker-account, reachable at worker.example:1"
    assert [record.getMessage() for record in caplog.records] == [
        f"{there}, with a lease of 1 s instead of 3600 s: discovery grants no longer leases yet",
        there,
    ]


async def test_workers_that_joined_at_the_same_moment_renew_at_different_ones() -> None:
    pauses = []
    for seed in range(20):
        keeper = LeaseKeeper(
            ScriptedDiscovery(),
            MemorySurroundings(),
            SeededEntropy(seed),
            REGISTRATION,
            WorkerPolicy(release="test", runtime=RUNTIME),
        )
        pauses.append(await keeper._stay_in(lambda _lease: None))
    longest_s = REGISTRATION.ttl_s / lease_keeper.RENEWALS_PER_LEASE
    assert len(set(pauses)) == 20
    assert longest_s / 2 <= min(pauses) < max(pauses) <= longest_s
    assert max(pauses) - min(pauses) > longest_s / 4


async def test_stops_also_while_discovery_is_away() -> None:
    discovery = ScriptedDiscovery()
    discovery.troubles["open_account"] = [DiscoveryUnavailable("away")] * 10_000
    keeping = Keeping(discovery)
    await discovery.called("open_account", 3)
    await keeping.end()
    assert keeping.joined == []


async def test_tells_each_change_of_reputation_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ec262")
    discovery = ScriptedDiscovery()
    discovery.troubles["open_account"] = [DiscoveryUnavailable("away")] * 3
    discovery.troubles["register"] = [DiscoveryUnavailable("away")] * 3
    keeping = Keeping(discovery)
    await discovery.called("register", 4)
    await keeping.end()
    assert [record.getMessage() for record in caplog.records] == [
        "discovery is unavailable, retrying: away",
        "in the pool as worker-account, reachable at worker.example:1",
    ]
    assert len(keeping.joined) == 1


async def test_a_refused_first_registration_is_for_the_owner_to_solve() -> None:
    discovery = ScriptedDiscovery()
    discovery.troubles["register"] = [AddressUnreachable("nobody answers at worker.example")]
    keeping = Keeping(discovery)
    with pytest.raises(AddressUnreachable, match="nobody answers"):
        await keeping.task


async def test_a_refused_renewal_is_retried_after_opening_the_account(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_keeper, "RENEWALS_PER_LEASE", 100)
    discovery = ScriptedDiscovery()
    keeping = Keeping(discovery, lease_s=1.0)
    await discovery.called("register", 1)
    discovery.troubles["register"] = [NotAuthenticated("no such account")]
    await discovery.called("register", 3)
    await keeping.end()
    assert discovery.calls[:5] == ["open_account", "register", "register", "open_account", "register"]
    assert "discovery refused the lease, retrying: no such account" in caplog.text


async def test_a_worker_that_never_joined_does_not_leave() -> None:
    discovery = ScriptedDiscovery()
    discovery.troubles["open_account"] = [DiscoveryUnavailable("away")] * 10_000
    keeping = Keeping(discovery)
    await discovery.called("open_account", 1)
    await keeping.end()
    await keeping.keeper.leave()
    assert "leave" not in discovery.calls


async def test_leaves_the_pool() -> None:
    discovery = ScriptedDiscovery()
    keeping = Keeping(discovery)
    await discovery.called("register", 1)
    await keeping.end()
    await keeping.keeper.leave()
    assert discovery.registration is None


@pytest.mark.parametrize("trouble", [DiscoveryUnavailable("away"), NotAuthenticated("no such account")])
async def test_leaving_never_fails(trouble: Exception, caplog: pytest.LogCaptureFixture) -> None:
    discovery = ScriptedDiscovery()
    discovery.troubles["leave"] = [trouble]
    keeping = Keeping(discovery)
    await discovery.called("register", 1)
    await keeping.end()
    await keeping.keeper.leave()
    assert f"the lease will expire: {trouble}" in caplog.text


async def test_leaving_does_not_wait_forever(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(ScriptedDiscovery):
        async def leave(self) -> None:
            await asyncio.sleep(60)

    monkeypatch.setattr(lease_keeper, "LEAVE_S", 0.02)
    discovery = Stuck()
    keeping = Keeping(discovery)
    await discovery.called("register", 1)
    await keeping.end()
    await keeping.keeper.leave()
    assert "the lease will expire" in caplog.text


# --- an owner who wants the machine back ------------------------------------------------------------------------------

AT_NIGHT = Availability(hours=(parse_hours("22-6"),))
NIGHT = Moment(minute=23 * 60, others_load=None, input_idle_s=0.0)
DAY = Moment(minute=12 * 60, others_load=None, input_idle_s=0.0)


async def test_leaves_when_the_hours_are_over_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ec262")
    discovery = ScriptedDiscovery()
    keeping = Keeping(discovery, availability=AT_NIGHT)
    keeping.surroundings.moment = NIGHT
    await discovery.called("register", 2)  # looked at sooner than the lease would want it
    keeping.surroundings.moment = DAY
    await discovery.called("leave", 1)
    await asyncio.sleep(0.05)
    assert discovery.registration is None
    assert discovery.calls.count("leave") == 1
    assert len(keeping.joined) == 1
    registered = discovery.calls.count("register")
    keeping.surroundings.moment = NIGHT
    await discovery.called("register", registered + 1)
    await asyncio.sleep(0)
    await keeping.end()
    assert len(keeping.joined) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "in the pool as worker-account, reachable at worker.example:1",
        "left the pool",
        "not in the pool, will join automatically: it is outside the hours 22:00-06:00",
        "in the pool as worker-account, reachable at worker.example:1",
    ]


async def test_a_worker_out_of_the_pool_from_the_start_can_be_stopped(caplog: pytest.LogCaptureFixture) -> None:
    discovery = ScriptedDiscovery()
    keeping = Keeping(discovery, availability=AT_NIGHT)
    await asyncio.sleep(0.05)
    await keeping.end()
    await keeping.keeper.leave()
    assert discovery.calls == []
    assert [record.getMessage() for record in caplog.records] == [
        "not in the pool, will join automatically: it is outside the hours 22:00-06:00"
    ]


async def test_a_lease_that_could_not_be_given_up_runs_out(caplog: pytest.LogCaptureFixture) -> None:
    discovery = ScriptedDiscovery()
    discovery.troubles["leave"] = [DiscoveryUnavailable("away")]
    keeping = Keeping(discovery, availability=Availability(idle=IdleRule(load=0.5, input_s=0)))
    keeping.surroundings.moment = Moment(minute=0, others_load=0.0, input_idle_s=0.0)
    await discovery.called("register", 1)
    keeping.surroundings.moment = Moment(minute=0, others_load=0.5, input_idle_s=0.0)
    await discovery.called("leave", 1)
    await asyncio.sleep(0.05)
    await keeping.end()
    await keeping.keeper.leave()
    assert discovery.calls.count("leave") == 1
    assert "the lease will expire: away" in caplog.text
    assert "other programs use 50% or more of the processors" in caplog.text


async def test_a_refusal_after_an_absence_does_not_end_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    discovery = ScriptedDiscovery()
    keeping = Keeping(discovery, availability=AT_NIGHT)
    keeping.surroundings.moment = NIGHT
    await discovery.called("register", 1)
    keeping.surroundings.moment = DAY
    await discovery.called("leave", 1)
    discovery.troubles["register"] = [AddressUnreachable("nobody answers")]
    keeping.surroundings.moment = NIGHT
    registered = discovery.calls.count("register")
    await discovery.called("register", registered + 2)
    await asyncio.sleep(0)
    await keeping.end()
    assert len(keeping.joined) == 2
    assert "discovery refused the lease, retrying: nobody answers" in caplog.text


async def test_a_machine_that_cannot_be_watched_is_for_the_owner_to_solve() -> None:
    class Blind(MemorySurroundings):
        async def observe(self) -> Moment:
            raise ConfigurationError("no /proc")

    keeping = Keeping(ScriptedDiscovery(), availability=AT_NIGHT)
    keeping.keeper._surroundings = Blind()
    with pytest.raises(ConfigurationError, match="no /proc"):
        await keeping.task


# --- one account, two workers ---------------------------------------------------------------------------------------

OTHER = WorkerAddress(host="other.example", port=1, fingerprint="1" * 64)


class Shared(ScriptedDiscovery):
    """A discovery service that says, each time it is asked, who had the place before."""

    def __init__(self, *before: WorkerAddress | None) -> None:
        super().__init__()
        self.before = list(before)

    async def register(self, command: RegisterWorker) -> Lease:
        lease = await super().register(command)
        return attrs.evolve(lease, replaced=self.before.pop(0) if self.before else None)


async def told_of(*before: WorkerAddress | None, caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    caplog.set_level(logging.INFO, "ec262")
    discovery = Shared(*before)
    keeping = Keeping(discovery, availability=Availability(hours=(parse_hours("0-24"),)))
    await discovery.called("register", len(before) + 1)
    await keeping.end()
    return [(record.levelname, record.getMessage()) for record in caplog.records]


async def test_a_shared_account_is_reported_at_each_renewal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, shared, *_ = await told_of(None, OTHER, OTHER, caplog=caplog)
    assert first == ("INFO", "in the pool as worker-account, reachable at worker.example:1")
    level, text = shared
    assert level == "ERROR"
    assert "but a worker at other.example:1 uses the same account: give each machine its own credentials" in text
    assert "its own port (-P)" in text


async def test_taking_over_from_another_address_warns_of_that_address(caplog: pytest.LogCaptureFixture) -> None:
    (level, text), *_ = await told_of(OTHER, caplog=caplog)
    assert (level, "replacing a worker at other.example:1: if that is still running, give each" in text) == (
        "WARNING",
        True,
    )


async def test_returning_to_its_own_address_reports_no_other_process(caplog: pytest.LogCaptureFixture) -> None:
    before = attrs.evolve(OTHER, host="worker.example")
    assert [level for level, _ in await told_of(before, caplog=caplog)] == ["INFO"]
