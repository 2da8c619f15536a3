"""A discovery service with people around it: what the tests of the service share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs

from ec262.adapters.memory.clock import ManualClock
from ec262.adapters.memory.entropy import SeededEntropy
from ec262.adapters.memory.prober import MemoryProber
from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.domain.commands import (
    BoughtTask,
    BuyTasks,
    CommitResult,
    Purchase,
    RegisterWorker,
    Requirement,
    Verdict,
    VerdictQuery,
)
from ec262.domain.ports.unit_of_work import UnitOfWorkFactory
from ec262.domain.runtime import PythonTag, RuntimeClass
from ec262.services.discovery import DiscoveryService, Policy

PYTHON = PythonTag(implementation="cpython", magic=3495, cloudpickle="3.1", version="3.11")
OTHER_PYTHON = PythonTag(implementation="cpython", magic=3531, cloudpickle="3.1", version="3.12")
FINGERPRINT = "ab" * 32
FOREMAN = "foreman-" + "f" * 40
REQUIREMENT = Requirement(python=PYTHON)


def worker_token(number: int) -> str:
    """The token of a test's worker."""
    return f"worker-{number:03}-" + "w" * 40


def digest(text: str) -> bytes:
    """A commitment."""
    return hashlib.sha256(text.encode()).digest()


def runtime(*, python: PythonTag = PYTHON, machine: str = "x86_64") -> RuntimeClass:
    """A runtime class."""
    return RuntimeClass(python=python, machine=machine, sandbox="linux", canonical_format=1)


def registration(
    port: int = 4000,
    *,
    host: str | None = None,
    python: PythonTag = PYTHON,
    machine: str = "x86_64",
    packages: tuple[str, ...] = (),
    slots: int = 1,
    ttl_s: float = 3600.0,
) -> RegisterWorker:
    """A registration that lasts an hour."""
    return RegisterWorker(
        host=host,
        port=port,
        fingerprint=FINGERPRINT,
        runtime=runtime(python=python, machine=machine),
        packages=packages,
        slots=slots,
        ttl_s=ttl_s,
    )


def order(
    purchase: str = "purchase-1",
    *,
    tasks: int = 1,
    rule: str = "majority:3",
    deadline_s: float = 600.0,
    requirement: Requirement = REQUIREMENT,
    avoid: Iterable[str] = (),
) -> BuyTasks:
    """A purchase of one task."""
    return BuyTasks(
        purchase=purchase,
        tasks=tasks,
        rule=rule,
        requirement=requirement,
        deadline_s=deadline_s,
        avoid=tuple(avoid),
    )


@attrs.define
class Town:
    """A service, its world, and whom it knows: ``tokens`` finds a worker's token by its account."""

    service: DiscoveryService
    clock: ManualClock
    prober: MemoryProber
    tokens: dict[str, str] = attrs.Factory(dict)

    def add_worker(self, number: int, command: RegisterWorker | None = None) -> str:
        """Open an account and register; return the account."""
        token = worker_token(number)
        account = self.service.open_account(token).account
        self.service.register(token, command or registration(4000 + number), source="127.0.0.1")
        self.tokens[account] = token
        return account

    def buy(self, command: BuyTasks | None = None) -> Purchase:
        """Buy as the foreman."""
        return self.service.buy(FOREMAN, command or order())

    def buy_one(self) -> BoughtTask:
        """Buy one task that could be assigned."""
        (task,) = self.buy().tasks
        return task

    def commit(self, task: BoughtTask, position: int, text: str) -> None:
        """Commit as the worker at this position of the task."""
        token = self.tokens[task.replicas[position].worker]
        self.service.commit(token, CommitResult(task=task.task, digest=digest(text)))

    def verdict(self, task: BoughtTask) -> Verdict:
        """Ask after a task as the foreman."""
        (verdict,) = self.service.verdicts(FOREMAN, VerdictQuery(tasks=(task.task,))).verdicts
        return verdict

    def credits(self, token: str = FOREMAN) -> int:
        """What an account has."""
        return self.service.open_account(token).credits


def build_town(
    *,
    workers: int = 0,
    grant: int = 12,
    max_open_tasks: int = 10_000,
    unit_of_work: UnitOfWorkFactory | None = None,
) -> Town:
    """A town with a foreman who has 12 credits, and workers who have none."""
    clock, prober = ManualClock(), MemoryProber()
    service = DiscoveryService(
        unit_of_work=unit_of_work or MemoryStore().unit_of_work,
        clock=clock,
        entropy=SeededEntropy(262),
        prober=prober,
        policy=Policy(grant=0, max_open_tasks=max_open_tasks),
    )
    town = Town(service=service, clock=clock, prober=prober)
    service.grant_account(FOREMAN, grant)
    for number in range(workers):
        town.add_worker(number)
    return town
