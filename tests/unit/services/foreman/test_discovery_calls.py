"""How often discovery is called for a whole job, by its foreman and by its workers."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import attrs
import pytest

import tests.system
from ec262.adapters.memory.discovery import MemoryDiscovery
from ec262.services.discovery.discovery_service import DiscoveryService
from ec262.services.foreman.workers.worker_link import LinkPolicy
from tests.system import FOREMAN, FOREMAN_POLICY, make_job, memory_system

TRIP_S = 0.005
WORKERS, SLOTS = 10, 6
POLICY = attrs.evolve(FOREMAN_POLICY, link=LinkPolicy(release="test"), deadline_s=60)


async def test_calls_are_far_fewer_than_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[tuple[str, str]] = Counter()

    class Counting:
        """A client whose calls take a moment, and are counted."""

        def __init__(self, service: DiscoveryService, *, token: str) -> None:
            self._client = MemoryDiscovery(service, token=token)
            self._who = "foreman" if token == FOREMAN else "worker"

        def __getattr__(self, name: str) -> Any:
            method = getattr(self._client, name)

            async def call(*arguments: object) -> object:
                calls[self._who, name] += 1
                await asyncio.sleep(TRIP_S)
                return await method(*arguments)

            return call

    monkeypatch.setattr(tests.system, "MemoryDiscovery", Counting)
    async with memory_system(workers=WORKERS, slots=SLOTS, credits=10_000) as system:
        words = " ".join(f"word{number}" for number in range(100))
        job = attrs.evolve(make_job(dict.fromkeys(range(1000), words)), map_tasks=60)
        assert len(await system.foreman(POLICY).run(job)) == 100
        tasks = (10_000 - system.credits_of(FOREMAN)) // 3
    assert tasks == 60 + WORKERS * SLOTS // 3
    of_foreman = sum(count for (who, _), count in calls.items() if who == "foreman")
    assert of_foreman < 2 * tasks  # one by one it would be a purchase, three verdicts and more for each
    for asked in ("assignments", "commit"):
        assert calls["worker", asked] < 3 * tasks  # one call for each replica
