"""A discovery service with people around it: what the tests of the service share."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

import attrs

from ec262.adapters.memory.clock import ManualClock
from ec262.adapters.memory.entropy import SeededEntropy
from ec262.adapters.memory.prober import MemoryProber
from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory
from ec262.domain.errors import refusal
from ec262.domain.protocol.foreman_calls import (
    AddReplicas,
    BoughtTask,
    BuyDisputes,
    BuyTasks,
    PoolQuery,
    PoolStatus,
    Purchase,
    ReplicaOrder,
    Verdict,
    VerdictQuery,
)
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.protocol.worker_calls import (
    Assignment,
    AssignmentQuery,
    Commitment,
    CommitResults,
    GiveUp,
    RegisterWorker,
    TaskRefusal,
)
from ec262.domain.work.runtime import PythonTag, RuntimeClass
from ec262.entrypoints.http.long_poll import Bell
from ec262.services.discovery.discovery_policy import Policy
from ec262.services.discovery.discovery_service import DiscoveryService

PYTHON = PythonTag(implementation="cpython", magic=3495, cloudpickle="3.1", version="3.11")
OTHER_PYTHON = PythonTag(implementation="cpython", magic=3531, cloudpickle="3.1", version="3.12")
FINGERPRINT = "ab" * 32
FOREMAN = "foreman-" + "f" * 40
NEWCOMER = "newcomer-" + "n" * 40
DAY_S = 24 * 3600
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


def more_replicas(
    *tasks: str,
    purchase: str = "purchase-more",
    replicas: int = 1,
    deadline_s: float = 600.0,
    avoid: Iterable[str] = (),
) -> AddReplicas:
    """An order of replicas for tasks."""
    orders = tuple(ReplicaOrder(task=task, replicas=replicas) for task in tasks)
    return AddReplicas(purchase=purchase, orders=orders, deadline_s=deadline_s, avoid=tuple(avoid))


@attrs.define
class Town:
    """A service, its world, and whom it knows: ``tokens`` finds a worker's token by its account. ``decided`` are the
    tasks for which the bell was rung."""

    service: DiscoveryService
    bell: Bell
    clock: ManualClock
    prober: MemoryProber
    unit_of_work: UnitOfWorkFactory
    decided: list[str]
    tokens: dict[str, str] = attrs.Factory(dict)

    def add_worker(self, number: int, command: RegisterWorker | None = None) -> str:
        """Open an account and register; return the account."""
        token = worker_token(number)
        account = self.service.accounts.open(token).account
        self.service.workers.register(token, command or registration(4000 + number), source="127.0.0.1")
        self.tokens[account] = token
        return account

    def buy(self, command: BuyTasks | None = None) -> Purchase:
        """Buy as the foreman."""
        return self.service.foremen.buy(FOREMAN, command or order())

    def buy_one(self) -> BoughtTask:
        """Buy one task that could be assigned."""
        (task,) = self.buy().tasks
        return task

    def pool(self) -> PoolStatus:
        """Ask as the foreman who could be drawn."""
        return self.service.foremen.pool(FOREMAN, PoolQuery(requirement=REQUIREMENT))

    def add_replicas(self, command: AddReplicas) -> Purchase:
        """Add replicas as the foreman."""
        return self.service.foremen.add_replicas(FOREMAN, command)

    def dispute(self, task: BoughtTask) -> Verdict:
        """Buy a dispute as the foreman; return the task's state after it."""
        (verdict,) = self.service.foremen.dispute(FOREMAN, BuyDisputes(tasks=(task.task,))).verdicts
        return verdict

    def freeze(self, token: str, *, frozen: bool = True) -> None:
        """Freeze an account, or let it be active again."""
        account = self.service.accounts.status(token).account
        with self.unit_of_work() as uow:
            known = uow.accounts.get(account)
            assert known is not None
            uow.accounts.save(attrs.evolve(known, frozen=frozen))
            uow.commit()

    def commit(self, task: BoughtTask, position: int, text: str) -> None:
        """Commit as the worker at this position of the task."""
        token = self.tokens[task.replicas[position].worker]
        self.commit_as(token, task.task, digest(text))

    def commit_as(self, token: str, task: str, value: bytes, *, stopped: bool = False) -> None:
        """Commit to one task. Raises what it is refused with."""
        command = CommitResults(commitments=(Commitment(task=task, digest=value, stopped=stopped),))
        _raise(self.service.workers.commit(token, command).refused)

    def assignment(self, token: str, task: str) -> Assignment:
        """Read one assignment. Raises what it is refused with."""
        reply = self.service.workers.assignments(token, AssignmentQuery(tasks=(task,)))
        _raise(reply.refused)
        (assignment,) = reply.assignments
        return assignment

    def give_up(self, token: str, task: str) -> None:
        """Give one task up. Raises what it is refused with."""
        _raise(self.service.workers.give_up(token, GiveUp(tasks=(task,))).refused)

    def verdict(self, task: BoughtTask) -> Verdict:
        """Ask after a task as the foreman."""
        (verdict,) = self.service.foremen.verdicts(FOREMAN, VerdictQuery(tasks=(task.task,))).verdicts
        return verdict

    def credits(self, token: str = FOREMAN) -> int:
        """What an account has."""
        return self.service.accounts.open(token).credits


def _raise(refused: Iterable[TaskRefusal]) -> None:
    for one in refused:
        raise refusal(one.error, one.message)


def build_town(
    *,
    workers: int = 0,
    grant: int = 12,
    policy: Policy | None = None,
    unit_of_work: UnitOfWorkFactory | None = None,
    beginner_lease_s: float = DAY_S,
) -> Town:
    """A town with a foreman who has 12 credits, and workers who have none, but leases as long as they ask for."""
    clock, prober, bell = ManualClock(), MemoryProber(), Bell()
    unit_of_work = unit_of_work or MemoryStore().unit_of_work
    decided: list[str] = []

    def on_decided(tasks: Collection[str]) -> None:
        decided.extend(tasks)
        bell.ring(tasks)

    service = DiscoveryService(
        unit_of_work=unit_of_work,
        clock=clock,
        entropy=SeededEntropy(262),
        prober=prober,
        policy=attrs.evolve(policy or Policy(grant=0), beginner_lease_s=beginner_lease_s),
        on_decided=on_decided,
    )
    town = Town(service=service, bell=bell, clock=clock, prober=prober, unit_of_work=unit_of_work, decided=decided)
    service.accounts.open_with_grant(FOREMAN, grant)
    for number in range(workers):
        town.add_worker(number)
    return town
