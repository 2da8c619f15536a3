"""A whole ec262 in one process, but over real sockets: discovery over HTTP, workers over TCP in TLS."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

from ec262.adapters.ciphers.aes_siv import AesSivCipher
from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
from ec262.adapters.jobs.local_runtime import runtime_class
from ec262.adapters.machine.system_entropy import SystemEntropy
from ec262.adapters.memory.entropy import SeededEntropy
from ec262.adapters.memory.result_store import MemoryResultStore
from ec262.adapters.memory.surroundings import MemorySurroundings
from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.adapters.tcp.dialer import TcpDialer
from ec262.adapters.tcp.listener import TcpListener
from ec262.adapters.tcp.tls_prober import TlsProber
from ec262.adapters.terminal.progress_bar import Silent
from ec262.domain.discovery.ledger import Transfer, user_account
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.protocol.worker_calls import Lease
from ec262.domain.verification.rules import Majority
from ec262.domain.work.work import Limits
from ec262.entrypoints.discovery.discovery_api import discovery_app
from ec262.entrypoints.http.long_poll import Bell
from ec262.services.discovery.discovery_policy import Policy
from ec262.services.discovery.discovery_service import DiscoveryService
from ec262.services.foreman.foreman import Foreman
from ec262.services.foreman.foreman_policy import ForemanPolicy, ForemanPorts
from ec262.services.foreman.workers.worker_link import LinkPolicy
from ec262.services.worker.computer import WorkerPorts
from ec262.services.worker.worker import Worker
from ec262.services.worker.worker_policy import WorkerPolicy
from tests.live_discovery import served
from tests.system import FOREMAN, worker_token

POLICY = ForemanPolicy(
    run=RunPolicy(rule=Majority(), attempts=9, patience_s=20, retry_s=0.02, poll_s=0.2, grace_s=0.1),
    link=LinkPolicy(release="test", connect_s=2, reply_s=2, transfer_s=2, max_result_bytes=4 << 20),
    limits=Limits(),
    deadline_s=10,
)
"""Short deadlines, but for an honest worker on a busy machine long enough."""

HONEST: Callable[[], Mapping[str, Any]] = dict
"""Makes what an honest worker has of its own: nothing."""


@attrs.define(kw_only=True)
class Staff:
    """A worker under way: ``parts`` are the ports it was given, by name."""

    token: str
    parts: Mapping[str, Any]
    lease: Lease
    running: asyncio.Task[None]


@attrs.define
class Clock:
    """Discovery's: it can be ahead of everybody else's."""

    ahead_s: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@attrs.define(kw_only=True)
class TcpSystem:
    """The parts that a test may want to look at."""

    url: str
    service: DiscoveryService
    granted: int
    staff: list[Staff]
    clock: Clock

    async def run(self, job: Job, policy: ForemanPolicy = POLICY, *, token: str = FOREMAN) -> dict[Any, Any]:
        """Run a job as the foreman with this token."""
        async with self._foreman(policy, token) as foreman:
            return await foreman.run(job)

    async def run_to(self, job: Job, policy: ForemanPolicy, write: Callable[[Iterable[bytes]], None]) -> None:
        """Run a job as a foreman that has its result written."""
        async with self._foreman(policy, FOREMAN) as foreman:
            await foreman.run_to(job, write)

    @asynccontextmanager
    async def _foreman(self, policy: ForemanPolicy, token: str) -> AsyncIterator[Foreman]:
        discovery = HttpDiscovery(self.url, token=token, patience_s=10)
        ports = ForemanPorts(
            discovery=discovery,
            dialer=TcpDialer(),
            cipher=AesSivCipher(),
            clock=time.time,
            entropy=SystemEntropy(),
            progress=Silent(),
        )
        try:
            yield Foreman(ports, policy)
        finally:
            await discovery.close()

    def let_pass(self, seconds: float) -> None:
        """Have that much time pass for discovery, which then ends what is overdue."""
        self.clock.ahead_s += seconds
        self.service.sweep()

    def credits_of(self, staff: Staff) -> int:
        return self.service.accounts.open(staff.token).credits

    def earnings_of(self, staff: Staff) -> list[Transfer]:
        """Every movement that brought it credits."""
        account = user_account(self.service.accounts.open(staff.token).account)
        with self.service._unit_of_work() as uow:
            return [transfer for transfer in uow.ledger.transfers() if transfer.credit == account]

    def open_tasks(self) -> list[str]:
        """The ids of the tasks under way, whoever bought them."""
        with self.service._unit_of_work() as uow:
            return [task.id for task in uow.tasks.due(math.inf, limit=1000)]

    @property
    def spent(self) -> int:
        """What the foreman has spent so far."""
        return self.granted - self.service.accounts.open(FOREMAN).credits


@asynccontextmanager
async def tcp_system(
    *makers: Callable[[], Mapping[str, Any]],
    credits: int = 15,
    slots: int = 8,
    sandbox: str = UnconfinedSandbox.name,
    **policy: float,
) -> AsyncIterator[TcpSystem]:
    """Run a system with a worker for each of ``makers``, which make what is not honest about it: ports by name, and for
    ``discovery`` the class of the client. All say that their sandbox is ``sandbox``, and have the same ``policy``.

    Discovery draws by a seed: the same workers, the same teams.
    """
    bell, clock = Bell(), Clock()
    service = DiscoveryService(
        unit_of_work=MemoryStore().unit_of_work,
        clock=clock,
        entropy=SeededEntropy(1),
        prober=TlsProber(),
        policy=Policy(grant=0),
        on_decided=bell.ring,
    )
    service.accounts.open_with_grant(FOREMAN, credits)
    with served(discovery_app(service, bell)) as url:
        staff: list[Staff] = []
        try:
            for number, make in enumerate(makers):
                staff.append(await _employ(url, worker_token(number), make(), sandbox=sandbox, slots=slots, **policy))
            yield TcpSystem(url=url, service=service, granted=credits, staff=staff, clock=clock)
        finally:
            await _dismiss(staff)


async def _employ(url: str, token: str, given: Mapping[str, Any], *, sandbox: str, **owners: Any) -> Staff:
    """Start a worker and wait until it is in the pool."""
    parts: dict[str, Any] = {
        "sandbox": UnconfinedSandbox(),
        "cipher": AesSivCipher(),
        "results": MemoryResultStore(capacity_bytes=1 << 26),
        "surroundings": MemorySurroundings(),
        "listener": TcpListener("127.0.0.1", 0),
        "clock": time.time,
        "entropy": SystemEntropy(),
        **given,
        "discovery": given.get("discovery", HttpDiscovery)(url, token=token, patience_s=0),
    }
    policy = WorkerPolicy(release="test", runtime=runtime_class(sandbox), farewell_s=0.01, **owners)
    ports = {name: part for name, part in parts.items() if name != "listener"}
    joined: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
    worker = Worker(WorkerPorts(**ports), parts["listener"], policy)
    running = asyncio.create_task(worker.run(asyncio.Event(), on_joined=joined.set_result))
    either: list[asyncio.Future[Any]] = [joined, running]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()  # raises what kept it from joining
    return Staff(token=token, parts=parts, lease=joined.result(), running=running)


async def _dismiss(staff: Sequence[Staff]) -> None:
    for each in staff:
        each.running.cancel()
    await asyncio.gather(*(each.running for each in staff), return_exceptions=True)
    for each in staff:
        await each.parts["discovery"].close()
