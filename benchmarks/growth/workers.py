"""The workers of the growth benchmark: any number of them in one process and one event loop.

Each runs the real service behind a real listener, with its own certificate, account and connection to discovery. Only
the sandbox is a stand-in that knows what the job computes, since the benchmark measures the foreman and discovery.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.growth.work import KEYS, LONG_KEY, LONG_S
from ec262.adapters.jobs.local_runtime import runtime_class
from ec262.adapters.memory.result_store import MemoryResultStore
from ec262.domain.protocol.worker_calls import Lease
from ec262.domain.values import canonical
from ec262.domain.work.outcome import Pairs, encode_outcome
from ec262.domain.work.work import Computed, Limits, Phase, Work
from ec262.entrypoints.shared.settings import WorkerSettings
from ec262.entrypoints.worker.bootstrap_worker import build_worker, build_worker_discovery

SLOTS, AHEAD = 4, 3


class StandIn:
    """A Sandbox that computes only the benchmark's own job, without a process."""

    runtime = runtime_class("linux")

    async def start(self) -> None:
        """Do nothing: there is nothing to start."""

    async def run(self, work: Work, limits: Limits) -> Computed:  # noqa: ARG002 - the port's signature
        """Compute a task."""
        rows: Sequence[tuple[int, Any]] = canonical.decode(work.rows)
        if work.phase is Phase.REDUCE:
            pairs = [(key, sum(values)) for key, values in rows]
            if any(key == LONG_KEY for key, _ in rows):
                await asyncio.sleep(LONG_S)
        else:
            pairs = [(key % KEYS, value) for key, value in rows]
        return Computed(outcome=encode_outcome(Pairs(pairs=tuple(pairs))), log=b"")

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""


async def employ(settings: WorkerSettings) -> tuple[asyncio.Task[None], asyncio.Future[Lease]]:
    """Start a worker; return its asyncio task, and a future that is done once it is in the pool."""
    joined: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
    discovery = build_worker_discovery(settings, token=secrets.token_urlsafe(32))
    worker = build_worker(settings, discovery=discovery, sandbox=StandIn(), results=MemoryResultStore())
    return asyncio.create_task(worker.run(asyncio.Event(), on_joined=joined.set_result)), joined


async def serve(url: str, count: int) -> None:
    """Run ``count`` workers until standard input closes."""
    # Calls to discovery wait in threads. Workers in processes of their own would always have enough of them.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(count + 8))
    settings = WorkerSettings(
        discovery=url, listen="127.0.0.1", advertise="127.0.0.1", port=0, slots=SLOTS, ahead=AHEAD, lease=600.0
    )
    staff = [await employ(settings) for _ in range(count)]
    await asyncio.gather(*(joined for _, joined in staff))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for running, _ in staff:
        running.cancel()
    await asyncio.gather(*(running for running, _ in staff), return_exceptions=True)


def main() -> None:
    """Run as many workers as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.url, arguments.count))


if __name__ == "__main__":
    main()
