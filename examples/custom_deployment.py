"""A custom deployment: a whole system in one process, with another transport and another sandbox.

    python examples/custom_deployment.py

Messages pass through memory instead of TLS over TCP. Instead of the Linux sandbox, ``ApprovedJobs`` below computes the
tasks: it stands for a site whose machines run only jobs that their owner has approved. Both are objects passed to the
composition root, and nothing changes in the domain or the services. See docs/custom-deployment.md.
"""

import asyncio
import hashlib
import os
import secrets
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from ec262.adapters.jobs.local_runtime import runtime_class
from ec262.adapters.memory.discovery import MemoryDiscovery
from ec262.adapters.memory.prober import MemoryProber
from ec262.adapters.memory.transport import MemoryNetwork
from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.domain.errors import SandboxCrashed, SandboxLimitExceeded
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.work.work import Computed, Limits, Work
from ec262.entrypoints.discovery.bootstrap_discovery import build_discovery_service
from ec262.entrypoints.foreman.bootstrap_foreman import build_foreman
from ec262.entrypoints.foreman.job_reading import build_job
from ec262.entrypoints.shared.settings import ForemanSettings, WorkerSettings
from ec262.entrypoints.worker.bootstrap_worker import build_worker
from ec262.services.discovery.discovery_policy import Policy

TASK = Path(__file__).with_name("custom_deployment_task.py")
SIZE_BYTES = 8

WORKERS = 3
GRANT = 30

RHYME = [
    "Humpty Dumpty sat on a wall / Humpty Dumpty had a great fall",
    "All the King's horses and all the King's men / Couldn't put Humpty together again",
]


def split_words(_couplet: int, text: str) -> Iterator[tuple[str, int]]:
    for word in text.replace("/", "").split():
        yield word, 1


def add_up(word: str, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
    yield word, sum(counts)


class ApprovedJobs:
    """A Sandbox that computes jobs whose functions have an approved SHA-256, each task in a plain process.

    USE IT ONLY FOR CODE THAT YOU TRUST: a plain process may do whatever its user may do. Only the limits on wall time,
    output and log apply.
    """

    runtime = runtime_class("approved-jobs")
    """It has its own name, so results are never compared with those of another sandbox."""

    def __init__(self, approved: Collection[bytes]) -> None:
        self._approved = frozenset(approved)
        self._running: set[asyncio.subprocess.Process] = set()

    async def start(self) -> None:
        """Nothing to get ready."""

    async def run(self, work: Work, limits: Limits) -> Computed:
        """Run one task to its end. Raises SandboxLimitExceeded, SandboxCrashed."""
        if hashlib.sha256(work.functions).digest() not in self._approved:
            raise SandboxCrashed("this machine computes approved jobs only")
        answer = await self._answer(work, limits)
        outcome_bytes = int.from_bytes(answer[:SIZE_BYTES], "big")
        if outcome_bytes > limits.output_bytes:
            raise SandboxLimitExceeded("output", f"{outcome_bytes} bytes where {limits.output_bytes} are allowed")
        end = SIZE_BYTES + outcome_bytes
        return Computed(outcome=answer[SIZE_BYTES:end], log=answer[end:])

    async def close(self) -> None:
        """Kill what still runs."""
        for process in self._running:
            process.kill()

    async def _answer(self, work: Work, limits: Limits) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(TASK), work.phase.value),
            *(str(number) for number in (work.seed, work.round_floats, limits.log_bytes, len(work.functions))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONHASHSEED": "0"},
        )
        self._running.add(process)
        try:
            async with asyncio.timeout(limits.wall_s):
                answer, _ = await process.communicate(work.functions + work.rows)
        except TimeoutError:
            raise SandboxLimitExceeded("wall", f"no result within {limits.wall_s:g} s") from None
        finally:
            self._running.discard(process)
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise SandboxCrashed(f"the task's process ended with status {process.returncode}")
        return answer


async def run(job: Job) -> dict[str, int]:
    """Run a job on a system of its own: discovery, workers and a foreman, all in this process."""
    network = MemoryNetwork()
    service = build_discovery_service(
        unit_of_work=MemoryStore().unit_of_work, policy=Policy(grant=GRANT), prober=MemoryProber()
    )
    workers = [
        build_worker(
            WorkerSettings(slots=1),
            discovery=MemoryDiscovery(service, token=secrets.token_urlsafe()),
            listener=network.listener(),
            sandbox=ApprovedJobs([hashlib.sha256(job.functions).digest()]),
        )
        for _ in range(WORKERS)
    ]
    foreman = build_foreman(
        ForemanSettings(),
        quiet=True,
        discovery=MemoryDiscovery(service, token=secrets.token_urlsafe()),
        dialer=network.dialer(),
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as running:
        for worker in workers:
            running.create_task(worker.run(stop))
        try:
            return await foreman.run(job)
        finally:
            stop.set()


def main() -> None:
    """Count the words of a rhyme."""
    functions = {"mapper": split_words, "reducer": add_up, "combiner": None}
    job = build_job(dict(enumerate(RHYME)), functions, ForemanSettings())
    counts = asyncio.run(run(job))
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        print(f"{count}  {word}")


if __name__ == "__main__":
    main()
