"""A process of the discovery service's, and people who ask it without end: for tests that run several of them over one
database, and kill some.

``storage_crowd.py URL NUMBER buy`` buys tasks with a far deadline until no worker is free; ``... live`` buys, computes
and lets deadlines pass until it is ended. Both say "ready" and begin when they read a line.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ec262.adapters.machine.system_entropy import SystemEntropy
from ec262.adapters.memory.prober import MemoryProber
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory
from ec262.domain.errors import DiscoveryUnavailable, LimitReached
from ec262.domain.protocol.foreman_calls import Purchase, VerdictQuery
from ec262.domain.protocol.worker_calls import AssignmentQuery, Commitment, CommitResults
from ec262.services.discovery.discovery_policy import Policy
from ec262.services.discovery.discovery_service import DiscoveryService
from tests.discovery_town import digest, more_replicas, order, registration, worker_token

Answer = TypeVar("Answer")

GRANT = 1_000_000
"""More credits than a foreman can lose in a test, whatever becomes of its tasks."""
SHORT_S = 1.0


def foreman_token(number: int) -> str:
    return f"foreman-{number}-" + "f" * 40


def service_over(unit_of_work: UnitOfWorkFactory, clock: Callable[[], float] = time.time) -> DiscoveryService:
    """A service as each of the processes has it."""
    return DiscoveryService(
        unit_of_work=unit_of_work,
        clock=clock,
        entropy=SystemEntropy(),
        prober=MemoryProber(),
        policy=Policy(grant=0, retention_s=3600),
    )


def populate(service: DiscoveryService, *, foremen: int, workers: int, slots: int) -> None:
    """Open the accounts and fill the pool."""
    for number in range(foremen):
        service.accounts.open_with_grant(foreman_token(number), GRANT)
    for number in range(workers):
        service.accounts.open(worker_token(number))
        service.workers.register(worker_token(number), registration(4000 + number, slots=slots), source="127.0.0.1")


def insist(call: Callable[..., Answer], *arguments: Any) -> Answer:
    """Repeat a call until it is answered, as clients do."""
    while True:
        try:
            return call(*arguments)
        except DiscoveryUnavailable:
            time.sleep(0.001)


class Crowd:
    """One foreman, and all workers."""

    def __init__(self, service: DiscoveryService, number: int) -> None:
        self._service = service
        self._token = foreman_token(number)
        self._workers = {insist(service.accounts.open, name).account: name for name in map(worker_token, range(9))}

    def buy(self) -> None:
        """Buy one task after the other, until none is left."""
        while insist(self._service.foremen.buy, self._token, order(_new_name(), deadline_s=3600)).tasks:
            pass

    def live(self) -> None:
        """Do what foremen and workers do."""
        foremen = self._service.foremen
        while True:
            try:
                bought = insist(foremen.buy, self._token, order(_new_name(), tasks=3, deadline_s=SHORT_S))
            except LimitReached:
                continue
            self._compute(bought)
            tasks = tuple(task.task for task in bought.tasks)
            if tasks:
                more = more_replicas(*tasks, purchase=_new_name(), deadline_s=SHORT_S)
                self._compute(insist(foremen.add_replicas, self._token, more))
            insist(foremen.verdicts, self._token, VerdictQuery(tasks=tasks))
            insist(self._service.sweep)

    def _compute(self, bought: Purchase) -> None:
        """Have the workers compute, each its part in an order of its own; not all of them do, nor rightly."""
        parts: dict[str, list[str]] = {}
        for task in bought.tasks:
            for replica in task.replicas:
                parts.setdefault(replica.worker, []).append(task.task)
        for worker, tasks in parts.items():
            random.shuffle(tasks)
            insist(self._service.workers.assignments, self._workers[worker], AssignmentQuery(tasks=tuple(tasks)))
            commitments = [Commitment(task=task, digest=digest(random.choice("aaab"))) for task in tasks]
            told = CommitResults(commitments=tuple(each for each in commitments if random.random() < 0.8))
            insist(self._service.workers.commit, self._workers[worker], told)


def _new_name() -> str:
    return f"purchase-{random.getrandbits(64):x}"


def main() -> None:
    url, number, way = sys.argv[1:]
    database = SqlDatabase(url)
    crowd = Crowd(service_over(database.unit_of_work), int(number))
    print("ready", flush=True)
    sys.stdin.readline()
    {"buy": crowd.buy, "live": crowd.live}[way]()


if __name__ == "__main__":
    main()
