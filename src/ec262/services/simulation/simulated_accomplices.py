"""Simulated saboteurs that buy tasks themselves, to build up their own reputation and to destroy that of others.

They buy from the real discovery service, with as many credits as they like, between two jobs of the honest foreman.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence

from ec262.domain.errors import LimitReached
from ec262.domain.ports.clock import Entropy
from ec262.domain.protocol.foreman_calls import BoughtTask, BuyTasks
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.protocol.worker_calls import Commitment, CommitResults
from ec262.domain.simulation.population import LIE, TRUTH
from ec262.services.discovery.discovery_service import DiscoveryService
from ec262.services.simulation.simulated_workers import FARM, PYTHON, SimulatedWorkers

OFTEN_S = 3600.0
"""Time between two rounds."""

FOREMEN = 12
"""How many saboteurs buy; all of them compute."""

TARGETS = 20
"""How many honest workers each foreman slanders in a round."""

DEADLINE_S = 1800.0

Say = Callable[[str], int]


class Accomplices:
    """The saboteurs of a population, as foremen of their own tasks."""

    def __init__(self, *, discovery: DiscoveryService, workers: SimulatedWorkers, entropy: Entropy) -> None:
        self._discovery = discovery
        self._workers = workers
        self._entropy = entropy
        self._purchases = itertools.count()
        self._next_at = workers.clock()
        self._friends: frozenset[str] = frozenset()

    def plot(self) -> None:
        """Carry out the scenario's attacks, if it is time for the next round."""
        scenario, now = self._workers.population.scenario, self._workers.clock()
        if not (scenario.farmers or scenario.slanderers) or now < self._next_at:
            return
        self._next_at = now + OFTEN_S
        saboteurs = [actor for actor in self._workers.population.actors if actor.saboteur]
        honest = [self._workers.account_of(each) for each in self._workers.population.actors if not each.saboteur]
        self._friends = frozenset(map(self._workers.account_of, saboteurs))
        for _ in saboteurs[:FOREMEN]:
            foreman = self._open()
            if scenario.farmers:
                self._farm(foreman, honest)
            if scenario.slanderers:
                self._slander(foreman, honest)

    def _open(self) -> str:
        """Open another account with credits, which discovery cannot link to anyone."""
        token = self._entropy.token(32).hex()
        self._discovery.accounts.open_with_grant(token, 1 << 30)
        return token

    def _farm(self, foreman: str, honest: Collection[str]) -> None:
        """Compute each other's tasks, drawn by a package, by avoiding others, and while others are busy. Also compute
        correctly beside strangers, which counts in the general record."""
        for _ in range(5):
            self._have_computed(foreman, self._buy(foreman, "quorum:2", 20, packages=(FARM,)), self._truth)
            self._have_computed(foreman, self._buy(foreman, "quorum:2", 20, avoid=honest), self._truth)
        blocking = self._buy(foreman, "none", len(honest), avoid=self._friends)
        self._have_computed(foreman, self._buy(foreman, "quorum:2", 20), self._truth)
        self._have_computed(foreman, blocking, self._truth)
        self._have_computed(foreman, self._buy(foreman, "quorum:2", 20), self._truth)

    def _slander(self, foreman: str, honest: Sequence[str]) -> None:
        """Outvote one worker after another, and send some workers different work from the rest."""
        for target in honest[:TARGETS]:
            others = [worker for worker in honest if worker != target]
            steered = self._buy(foreman, "majority:9", 1, avoid=others)
            self._have_computed(foreman, steered, lambda worker: LIE if worker in self._friends else TRUTH)
        targets = set(honest[:TARGETS])
        open_draws = self._buy(foreman, "majority:5", TARGETS)
        self._have_computed(foreman, open_draws, lambda worker: LIE if worker in targets else TRUTH)

    def _truth(self, _worker: str) -> int:
        return TRUTH

    def _buy(
        self,
        foreman: str,
        rule: str,
        tasks: int,
        *,
        packages: tuple[str, ...] = (),
        avoid: Collection[str] = (),
    ) -> Sequence[BoughtTask]:
        command = BuyTasks(
            purchase=f"accomplices-{next(self._purchases):012}",
            tasks=tasks,
            rule=rule,
            requirement=Requirement(python=PYTHON, packages=packages),
            deadline_s=DEADLINE_S,
            avoid=tuple(avoid),
        )
        try:
            return self._discovery.foremen.buy(foreman, command).tasks
        except LimitReached:
            return ()

    def _have_computed(self, _foreman: str, bought: Sequence[BoughtTask], say: Say) -> None:
        """Let everyone who was drawn commit at once; the work is trivial."""
        for task in bought:
            for replica in task.replicas:
                commitment = Commitment(task=task.task, digest=say(replica.worker).to_bytes(32, "big"))
                token = self._workers.token_of(self._workers.actor_of(replica.worker))
                self._discovery.workers.commit(token, CommitResults(commitments=(commitment,)))
