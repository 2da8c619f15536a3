"""The composition root of the simulator; see ``bootstrap_foreman``."""

from __future__ import annotations

from random import Random

from ec262.adapters.memory.clock import ManualClock
from ec262.adapters.memory.entropy import SeededEntropy
from ec262.adapters.memory.prober import MemoryProber
from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.domain.protocol.limits import MAX_TTL_S
from ec262.domain.simulation.population import Population, Scenario
from ec262.services.discovery.administration import DiscoveryAdmin
from ec262.services.discovery.discovery_policy import Policy
from ec262.services.discovery.discovery_service import DiscoveryService
from ec262.services.simulation.simulated_accomplices import Accomplices
from ec262.services.simulation.simulated_foreman import SimulatedForeman
from ec262.services.simulation.simulated_workers import SimulatedWorkers


def build_simulation(scenario: Scenario, *, rule: str, audit_rate: float, seed: int) -> SimulatedForeman:
    """Build a discovery service in memory with simulated workers; all randomness comes from the seed."""
    clock, entropy, store = ManualClock(), SeededEntropy(seed), MemoryStore()
    discovery = DiscoveryService(
        unit_of_work=store.unit_of_work,
        clock=clock,
        entropy=entropy,
        prober=MemoryProber(),
        # All workers of a scenario are in the pool: the limit on beginners is not simulated.
        policy=Policy(retention_s=0.0, audit_rate=audit_rate, max_beginners=1 << 30, beginner_lease_s=MAX_TTL_S),
    )
    dice = Random(seed)  # noqa: S311 - repeatable is the point
    workers = SimulatedWorkers(
        discovery=discovery,
        clock=clock,
        entropy=entropy,
        dice=dice,
        population=Population(scenario, dice, salt=seed),
    )
    return SimulatedForeman(
        discovery=discovery,
        workers=workers,
        accomplices=Accomplices(discovery=discovery, workers=workers, entropy=entropy),
        operator=DiscoveryAdmin(
            unit_of_work=store.unit_of_work, snapshot=store.unit_of_work, clock=clock, entropy=entropy
        ),
        entropy=entropy,
        rule=rule,
    )
