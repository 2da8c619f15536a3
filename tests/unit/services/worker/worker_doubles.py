"""Doubles and shorthands for the tests of the worker's services."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from ec262.adapters.ciphers.aes_siv import AesSivCipher
from ec262.adapters.memory.entropy import SeededEntropy
from ec262.adapters.memory.result_store import MemoryResultStore
from ec262.adapters.memory.surroundings import MemorySurroundings
from ec262.domain.errors import CommitmentConflict, DiscoveryRefused, UnknownTask
from ec262.domain.ports.result_store import ResultStore
from ec262.domain.protocol.account_calls import AccountStatus
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.messages import Assign, Compute, Deliver
from ec262.domain.protocol.worker_calls import (
    Assignment,
    AssignmentQuery,
    Assignments,
    CommitmentsTaken,
    CommitResults,
    GivenUp,
    GiveUp,
    Lease,
    RegisterWorker,
    TaskRefusal,
)
from ec262.domain.work.runtime import PythonTag, RuntimeClass
from ec262.domain.work.work import Computed, Limits, Work
from ec262.services.worker.computer import WorkerPorts
from ec262.services.worker.worker_policy import WorkerPolicy
from tests.work_messages import compute_message

RUNTIME = RuntimeClass(
    python=PythonTag(implementation="cpython", magic=3495, cloudpickle="3.1", version="3.11"),
    machine="x86_64",
    sandbox="scripted",
    canonical_format=1,
)
SECRET = b"assignment secret"
DELIVERY_SECRET = b"delivery secret!"
KEY = bytes(range(32))
TASK = "task-0001"
RESULT = b'[["a",1]]'


class Clock:
    """A clock that stands still unless told."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class ScriptedDiscovery:
    """A WorkerDiscovery for one worker: it knows the tasks that a test assigns. Each method raises the ``troubles``
    put down for it, one a call, before it works."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.troubles: defaultdict[str, list[Exception]] = defaultdict(list)
        self.assigned: dict[str, Assignment] = {}
        self.commitments: dict[str, bytes] = {}
        self.given_up: list[str] = []
        self.stopped: list[str] = []
        self.invitation: str | None = None
        self.registration: RegisterWorker | None = None
        self._called = asyncio.Event()
        self.gate = asyncio.Event()
        """While it is clear, questions about assignments are not answered."""
        self.gate.set()

    def assign(self, task: str = TASK, *, deadline_in_s: float = 60.0, forgotten_in_s: float = 3600.0) -> None:
        self.assigned[task] = Assignment(
            task=task,
            key=KEY,
            secret=SECRET,
            delivery_digest=hashlib.sha256(DELIVERY_SECRET).digest(),
            deadline_in_s=deadline_in_s,
            forgotten_in_s=forgotten_in_s,
        )

    async def open_account(self, invitation: str | None = None) -> AccountStatus:
        self._note("open_account")
        self.invitation = invitation
        return AccountStatus(account="worker-account", credits=0, escrow=0, open_tasks=0, reports=0, frozen=False)

    async def register(self, command: RegisterWorker) -> Lease:
        self._note("register")
        self.registration = command
        address = WorkerAddress(host=command.host or "127.0.0.1", port=command.port, fingerprint=command.fingerprint)
        return Lease(worker="worker-account", address=address, expires_in_s=command.ttl_s)

    async def leave(self) -> None:
        self._note("leave")
        self.registration = None

    async def assignments(self, query: AssignmentQuery) -> Assignments:
        self._note("assignment")
        await self.gate.wait()
        refused = [
            _refused(task, UnknownTask(f"unknown task {task}")) for task in query.tasks if task not in self.assigned
        ]
        found = [self.assigned[task] for task in query.tasks if task in self.assigned]
        return Assignments(assignments=tuple(found), refused=tuple(refused))

    async def commit(self, command: CommitResults) -> CommitmentsTaken:
        self._note("commit")
        taken, refused = [], []
        for commitment in command.commitments:
            if self.commitments.setdefault(commitment.task, commitment.digest) == commitment.digest:
                taken.append(commitment.task)
                self.stopped += [commitment.task] * commitment.stopped
            else:
                refused.append(_refused(commitment.task, CommitmentConflict("another digest was committed before")))
        return CommitmentsTaken(tasks=tuple(taken), refused=tuple(refused))

    async def give_up(self, command: GiveUp) -> GivenUp:
        self._note("give_up")
        self.given_up += command.tasks
        return GivenUp(tasks=command.tasks, refused=())

    async def called(self, call: str, times: int) -> None:
        """Return when a method was called as often."""
        async with asyncio.timeout(5):
            while self.calls.count(call) < times:
                self._called.clear()
                await self._called.wait()

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self._called.set()
        if self.troubles[call]:
            raise self.troubles[call].pop(0)


def _refused(task: str, error: DiscoveryRefused) -> TaskRefusal:
    return TaskRefusal(task=task, error=error.code, message=str(error))


class ScriptedSandbox:
    """A Sandbox that does what the test says."""

    runtime = RUNTIME

    def __init__(self, act: Callable[[], Awaitable[Computed]] | None = None) -> None:
        self.act = act
        self.runs: list[tuple[Work, Limits]] = []
        self.started = False
        self.closed = False
        self.start_trouble: Exception | None = None

    async def start(self) -> None:
        if self.start_trouble is not None:
            raise self.start_trouble
        self.started = True

    async def run(self, work: Work, limits: Limits) -> Computed:
        self.runs.append((work, limits))
        return await self.act() if self.act is not None else Computed(outcome=RESULT, log=b"hello")

    async def close(self) -> None:
        self.closed = True


class Rig:
    """A worker's ports, all doubles, at hand for the test."""

    def __init__(self, *, results: ResultStore | None = None, **policy: Any) -> None:
        self.clock = Clock()
        self.discovery = ScriptedDiscovery()
        self.sandbox = ScriptedSandbox()
        self.cipher = AesSivCipher()
        self.results: ResultStore = results or MemoryResultStore(capacity_bytes=1 << 30)
        self.surroundings = MemorySurroundings()
        self.policy = WorkerPolicy(release="test", runtime=RUNTIME, **{"retry_s": 0.001, **policy})
        self.ports = WorkerPorts(
            discovery=self.discovery,
            sandbox=self.sandbox,
            cipher=self.cipher,
            results=self.results,
            surroundings=self.surroundings,
            clock=self.clock,
            entropy=SeededEntropy(),
        )


def assign(task: str = TASK, secret: bytes = SECRET) -> Assign:
    return Assign(task=task, secret=secret)


def compute(task: str = TASK, *, rows: bytes = b"[]", limits: Limits | None = None, packed: bool = False) -> Compute:
    return compute_message(task, seed=7, limits=limits, functions=b"pickle", rows=rows, packed=packed)


def deliver(task: str = TASK, secret: bytes = DELIVERY_SECRET) -> Deliver:
    return Deliver(task=task, secret=secret)
