"""Simulated workers at the real discovery service: accounts, leases, and commitments that take time."""

from __future__ import annotations

import heapq
from typing import Protocol

import attrs

from ec262.domain.discovery.tasks import CLAIM_S
from ec262.domain.ports.clock import Entropy
from ec262.domain.protocol.worker_calls import AssignmentQuery, Commitment, CommitResults, RegisterWorker
from ec262.domain.simulation.population import Actor, Dice, Population
from ec262.domain.work.runtime import PythonTag, RuntimeClass
from ec262.services.discovery.discovery_service import DiscoveryService

PYTHON = PythonTag(implementation="cpython", magic=3495, cloudpickle="3.1", version="3.11")
RUNTIME = RuntimeClass(python=PYTHON, machine="x86_64", sandbox="linux", canonical_format=1)

TASK_S = 10.0
"""How long a task takes on average."""

LOST_S = 60.0
"""How long a foreman waits for a machine that vanished."""

LEASE_S = 24 * 3600.0

FLOOD_S, FLOOD_SLOTS = 600.0, 16
"""How often a flood comes, and how many slots each of its accounts offers."""

FARM = "farm"
"""A package that only saboteurs who buy each other's tasks have."""


class VirtualClock(Protocol):
    """A clock that moves only when it is set."""

    now: float

    def __call__(self) -> float:
        """Return Unix seconds."""
        ...


@attrs.frozen
class _End:
    """What a worker will answer to a task; None: no answer."""

    actor: Actor
    worker: str
    task: str
    answer: int | None


class SimulatedWorkers:
    """The workers of a population, registered at a discovery service."""

    def __init__(
        self,
        *,
        discovery: DiscoveryService,
        clock: VirtualClock,
        entropy: Entropy,
        dice: Dice,
        population: Population,
    ) -> None:
        self.clock = clock
        self.population = population
        self._discovery = discovery
        self._entropy = entropy
        self._dice = dice
        self._tokens: dict[int, str] = {}
        self._actors: dict[str, Actor] = {}
        self._accounts: dict[int, str] = {}
        self._crowd: list[Actor] = []
        self._flood_at = clock()
        self._ends: list[tuple[float, int, _End]] = []
        self._begun = 0
        self._said: dict[str, list[tuple[Actor, int]]] = {}
        self._renew_at = clock()

    def keep_leases(self) -> None:
        """Renew all leases, if it is time, and let the next flood join."""
        if self.clock() >= self._renew_at:
            self._renew_at = self.clock() + LEASE_S / 4
            for actor in self.population.actors:
                self._register(actor)
        if self.population.scenario.flood and self.clock() >= self._flood_at:
            self._flood_at = self.clock() + FLOOD_S
            for actor in self._crowd:
                self._discovery.workers.leave(self._tokens[actor.name])
            self._crowd = self.population.newcomers()
            for actor in self._crowd:
                self._register(actor, slots=FLOOD_SLOTS)

    def account_of(self, actor: Actor) -> str:
        """Return the account of a registered actor."""
        return self._accounts[actor.name]

    def token_of(self, actor: Actor) -> str:
        """Return the token of that account."""
        return self._tokens[actor.name]

    def actor_of(self, worker: str) -> Actor:
        """Return the actor who holds an account."""
        return self._actors[worker]

    def _register(self, actor: Actor, *, slots: int = 1) -> None:
        if actor.name not in self._tokens:
            self._tokens[actor.name] = self._entropy.token(32).hex()
            self._discovery.accounts.open(self._tokens[actor.name])
        # An address block each: neighborhoods are not simulated.
        place = actor.place
        host = f"{10 + (place >> 16)}.{place >> 8 & 255}.{place & 255}.1"
        farms = actor.saboteur and self.population.scenario.has_plots
        command = RegisterWorker(
            port=4000,
            fingerprint="00" * 32,
            runtime=RUNTIME,
            packages=(FARM,) if farms else (),
            slots=slots,
            ttl_s=LEASE_S,
        )
        lease = self._discovery.workers.register(self._tokens[actor.name], command, source=host)
        self._actors[lease.worker] = actor
        self._accounts[actor.name] = lease.worker

    # --- computing --------------------------------------------------------------------------------------------------

    @property
    def next_at(self) -> float | None:
        """When the next running task will be done."""
        return self._ends[0][0] if self._ends else None

    def begin(self, worker: str, task: str, number: int) -> None:
        """Let a worker begin a task, the ``number``-th of all."""
        actor = self._actors[worker]
        answer = self.population.answer(actor, number)
        took_s = LOST_S if answer is None else TASK_S * actor.pace * (0.5 + self._dice.random())
        if took_s >= CLAIM_S:  # whether a faster worker has asked for its part makes no difference
            self._discovery.workers.assignments(self._tokens[actor.name], AssignmentQuery(tasks=(task,)))
        self._begun += 1
        heapq.heappush(self._ends, (self.clock() + took_s, self._begun, _End(actor, worker, task, answer)))

    def finish_next(self) -> tuple[str, str, bool]:
        """Let the next worker commit; return the worker, the task, and whether it had a result."""
        _, _, end = heapq.heappop(self._ends)
        if end.answer is None:
            return end.worker, end.task, False
        commitment = Commitment(task=end.task, digest=end.answer.to_bytes(32, "big"))
        self._discovery.workers.commit(self._tokens[end.actor.name], CommitResults(commitments=(commitment,)))
        self._said.setdefault(end.task, []).append((end.actor, end.answer))
        return end.worker, end.task, True

    def won(self, task: str, answer: int) -> None:
        """Announce the winning answer to a task. Actors that gave another one go unpaid, and so learn that they were
        caught."""
        for actor, said in self._said.pop(task, ()):
            if said != answer:
                heir = self.population.found_out(actor)
                if heir.name not in self._tokens:
                    self._discovery.workers.leave(self._tokens[actor.name])
                    self._register(heir)
