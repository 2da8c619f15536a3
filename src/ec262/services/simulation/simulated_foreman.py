"""A simulated foreman at the real discovery service: the real ``JobRun`` for one job after another, on a virtual clock.

All decisions are made by production code: the job's state machine, selection, commitments, verdicts, reputations,
acceptances and the ledger. Only machines, messages (which take no time) and time (which jumps) are simulated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.ports.clock import Entropy
from ec262.domain.simulation.statistics import Tally
from ec262.services.discovery.administration import DiscoveryAdmin
from ec262.services.discovery.discovery_service import DiscoveryService
from ec262.services.simulation.simulated_accomplices import Accomplices
from ec262.services.simulation.simulated_job import DEADLINE_S, SimulatedJob
from ec262.services.simulation.simulated_workers import SimulatedWorkers

SWEEP = 5_000
"""Tasks after which discovery deletes what has expired."""

ATTEMPTS = 1_000
"""So many that a simulated job is never given up because of a task."""

OnProgress = Callable[[int], None]
"""Receives the number of tasks done."""


class SimulatedForeman:
    """One foreman and its workers. Use it once."""

    def __init__(
        self,
        *,
        discovery: DiscoveryService,
        workers: SimulatedWorkers,
        accomplices: Accomplices,
        operator: DiscoveryAdmin,
        entropy: Entropy,
        rule: str,
    ) -> None:
        self._foremen = discovery.foremen
        self._service = discovery
        self._workers = workers
        self._accomplices = accomplices
        self._operator = operator
        self._policy = RunPolicy(rule=rule, one_word=True, attempts=ATTEMPTS, patience_s=2 * DEADLINE_S)
        self._token = entropy.token(32).hex()
        discovery.accounts.open_with_grant(self._token, 1 << 40)
        self._purchases = itertools.count(1)
        self._executions = self._reopened = 0

    def run(self, tasks: int, *, job: int, on_progress: OnProgress = lambda _done: None) -> Tally:
        """Run jobs of ``job`` tasks, one after another, until all tasks are done; then audit the books."""
        errors = swept = 0
        half: tuple[int, int] | None = None
        self._workers.keep_leases()
        for anchor in self._workers.population.anchors():
            self._operator.add_anchor(self._workers.account_of(anchor))
        for first in range(0, tasks, job):
            count = min(job, tasks - first)
            if half is None and 2 * first >= tasks:
                half = tasks - first, self._executions
            errors += self._job(first, count)
            if first + count >= swept + SWEEP:
                swept = first + count
                self._service.sweep()
            on_progress(first + count)
        self._service.audit()
        population = self._workers.population
        return Tally(
            tasks=tasks,
            errors=errors,
            executions=self._executions,
            names=population.names - population.scenario.workers,
            woken=population.woken,
            reopened=self._reopened,
            second_half=(self._executions - half[1]) / half[0] if half else None,
        )

    def _job(self, first: int, count: int) -> int:
        """Run a job; return how many of its results are wrong."""
        self._workers.keep_leases()
        self._accomplices.plot()
        simulated = SimulatedJob(
            first,
            count,
            policy=self._policy,
            discovery=self._foremen,
            token=self._token,
            workers=self._workers,
            purchases=self._purchases,
        )
        errors = simulated.run()
        self._executions += simulated.executions
        self._reopened += simulated.reopened
        return errors
