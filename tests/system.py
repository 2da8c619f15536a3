"""A whole ec262 in one process: discovery, workers and a foreman over in-memory adapters, no socket and no file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs

from ec262.adapters.ciphers.aes_siv import AesSivCipher
from ec262.adapters.jobs.local_runtime import local_python, runtime_class
from ec262.adapters.jobs.pickling import pickle_functions
from ec262.adapters.memory.discovery import MemoryDiscovery
from ec262.adapters.memory.entropy import SeededEntropy
from ec262.adapters.memory.prober import MemoryProber
from ec262.adapters.memory.result_store import MemoryResultStore
from ec262.adapters.memory.surroundings import MemorySurroundings
from ec262.adapters.memory.transport import MemoryNetwork
from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.adapters.terminal.progress_bar import Silent
from ec262.domain.foreman.data.memory_budget import MemoryBudget
from ec262.domain.foreman.data.partition import encode_row
from ec262.domain.foreman.data.row_spool import held
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.ports.discovery import ForemanDiscovery
from ec262.domain.ports.result_store import ResultStore
from ec262.domain.ports.sandbox import Sandbox
from ec262.domain.ports.spill import Spills
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.verification.rules import Majority
from ec262.domain.work.work import Limits
from ec262.services.discovery.discovery_policy import Policy
from ec262.services.discovery.discovery_service import DiscoveryService
from ec262.services.foreman.data.job_data import JobData
from ec262.services.foreman.foreman import Foreman
from ec262.services.foreman.foreman_policy import ForemanPolicy, ForemanPorts
from ec262.services.foreman.workers.worker_link import LinkPolicy
from ec262.services.worker.computer import WorkerPorts
from ec262.services.worker.worker import Worker
from ec262.services.worker.worker_policy import WorkerPolicy

FOREMAN = "foreman-" + "f" * 40
NO_GRANT = Policy(grant=0)


def count_words(_key: object, text: str) -> Iterable[tuple[str, int]]:
    for word in text.split():
        yield word, 1


def add_up(word: str, counts: Iterable[int]) -> Iterable[tuple[str, int]]:
    yield word, sum(counts)


WORD_COUNT: dict[str, Callable[..., Any] | None] = {"mapper": count_words, "reducer": add_up, "combiner": None}


def make_job(
    data: Mapping[Any, Any],
    functions: Mapping[str, Callable[..., Any] | None] = WORD_COUNT,
    requirement: Requirement | None = None,
) -> Job:
    return Job(
        functions=pickle_functions(functions).data,
        rows=held(encode_row(key, value) for key, value in data.items()),
        requirement=requirement or Requirement(python=local_python()),
    )


def new_job_data(job: Job, spills: Spills | None, budget: MemoryBudget, **given: Any) -> JobData:
    """Make a job's data as a foreman would; ``given`` replaces single arguments."""
    usual: dict[str, Any] = {"limits": Limits(), "entropy": SeededEntropy(3)}
    return JobData(job, spills, budget, **(usual | given))


FOREMAN_POLICY = ForemanPolicy(
    run=RunPolicy(rule=Majority(), patience_s=1.0, retry_s=0.01, poll_s=0.1, grace_s=0.05),
    link=LinkPolicy(release="test", connect_s=1, reply_s=1, transfer_s=1),
    limits=Limits(),
    deadline_s=5,
)


@attrs.define(kw_only=True)
class System:
    """The parts that a test may want to look at or to exchange."""

    service: DiscoveryService
    network: MemoryNetwork
    foreman_discovery: ForemanDiscovery
    progress: Any = attrs.Factory(Silent)

    def foreman(self, policy: ForemanPolicy = FOREMAN_POLICY, **ports: Any) -> Foreman:
        """Return a foreman; ``ports`` replaces single ports."""
        given: dict[str, Any] = {
            "discovery": self.foreman_discovery,
            "dialer": self.network.dialer(),
            "cipher": AesSivCipher(),
            "clock": asyncio.get_running_loop().time,
            "entropy": SeededEntropy(7),
            "progress": self.progress,
        }
        return Foreman(ForemanPorts(**(given | ports)), policy)

    def credits_of(self, token: str) -> int:
        return self.service.accounts.open(token).credits


@asynccontextmanager
async def memory_system(
    *,
    workers: int = 4,
    credits: int = 1000,
    slots: int = 2,
    sandboxes: Mapping[int, Sandbox] | None = None,
    results: Mapping[int, ResultStore] | None = None,
    look_s: float = 2.0,
    policy: Policy = NO_GRANT,
) -> AsyncIterator[System]:
    """Run a system; worker ``n`` (its token is ``worker_token(n)``) gets ``sandboxes[n]`` and ``results[n]``.
    Workers look for tasks that are not needed every ``look_s``."""
    service = DiscoveryService(
        unit_of_work=MemoryStore().unit_of_work,
        clock=asyncio.get_running_loop().time,
        entropy=SeededEntropy(1),
        prober=MemoryProber(),
        policy=policy,
    )
    service.accounts.open_with_grant(FOREMAN, credits)
    network = MemoryNetwork()
    running = [
        asyncio.create_task(
            Worker(
                WorkerPorts(
                    discovery=MemoryDiscovery(service, token=worker_token(number)),
                    sandbox=(sandboxes or {}).get(number) or UnconfinedSandbox(),
                    cipher=AesSivCipher(),
                    results=(results or {}).get(number) or MemoryResultStore(capacity_bytes=1 << 24),
                    surroundings=MemorySurroundings(),
                    clock=asyncio.get_running_loop().time,
                    entropy=SeededEntropy(number),
                ),
                network.listener(),
                WorkerPolicy(
                    release="test",
                    runtime=runtime_class("unconfined"),
                    slots=slots,
                    farewell_s=0.01,
                    look_s=look_s,
                ),
            ).run(asyncio.Event())
        )
        for number in range(workers)
    ]
    try:
        yield System(service=service, network=network, foreman_discovery=MemoryDiscovery(service, token=FOREMAN))
    finally:
        for worker in running:
            worker.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def worker_token(number: int) -> str:
    return f"worker-{number}-" + "w" * 40
