"""The worker's use case: lend this machine to strangers, and get paid for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from ec262.domain.ports.transport import Connection, Endpoint, Listener
from ec262.domain.protocol.worker_calls import Lease, RegisterWorker
from ec262.services.worker.computer import WorkerPorts
from ec262.services.worker.lease_keeper import LeaseKeeper
from ec262.services.worker.task_book import TaskBook
from ec262.services.worker.worker_policy import WorkerPolicy
from ec262.services.worker.worker_session import WorkerSession

logger = logging.getLogger(__name__)


class Worker:
    """Serves tasks from joining the pool to leaving it. Use it once."""

    def __init__(self, ports: WorkerPorts, listener: Listener, policy: WorkerPolicy) -> None:
        self._ports = ports
        self._listener = listener
        self._policy = policy
        self._book = TaskBook(ports, policy)
        self._sessions: dict[WorkerSession, asyncio.Event] = {}

    async def run(self, stop: asyncio.Event, *, on_joined: Callable[[Lease], None] = lambda _lease: None) -> None:
        """Serve until ``stop`` is set; then leave the pool, finish running tasks, keep delivering for a moment, and
        return. Work that waits for a slot is then given up, and so are results that discovery does not accept in time.

        ``on_joined`` is called when this worker has joined the pool: once, unless it stays out at times (see
        ``WorkerPolicy.availability``). Cancelling stops at once. Raises SandboxUnavailable, ConfigurationError (the
        port is taken, or the machine cannot be watched), DiscoveryRefused (it may not join).
        """
        policy, book = self._policy, self._book
        chores = [
            asyncio.create_task(_regularly(book.purge, policy.housekeeping_s)),
            asyncio.create_task(_regularly(book.give_up_unneeded, policy.look_s)),
        ]
        try:
            endpoint = await self._start()
            ports = self._ports
            lease = LeaseKeeper(
                ports.discovery, ports.surroundings, ports.entropy, self._registration(endpoint), self._policy
            )
            await lease.keep(stop, on_joined=on_joined)
            self._book.refuse_new()
            await lease.leave()
            if self._book.computing:
                logger.info(
                    "finishing %d task(s), which takes at most %.0f s; results that discovery does not accept "
                    "within %g s after that are lost",
                    self._book.computing,
                    self._book.ends_in_s,
                    self._policy.last_words_s,
                )
            await self._book.finish()
            await self._say_farewell()
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.wait(chores)
            await self._close()

    async def _start(self) -> Endpoint:
        # In parallel: the sandbox waits for a process, the listener computes a key.
        sandbox = asyncio.create_task(self._ports.sandbox.start())
        try:
            endpoint = await self._listener.start(self._handle)
        finally:
            await sandbox
        logger.info("listening on port %d", endpoint.port)
        return endpoint

    def _registration(self, endpoint: Endpoint) -> RegisterWorker:
        policy = self._policy
        return RegisterWorker(
            host=policy.host,
            port=endpoint.port,
            fingerprint=endpoint.fingerprint,
            runtime=policy.runtime,
            packages=policy.packages,
            slots=policy.capacity,
            ttl_s=policy.lease_s,
        )

    async def _handle(self, connection: Connection) -> None:
        session = WorkerSession(connection, self._book, self._policy)
        ended = self._sessions[session] = asyncio.Event()
        try:
            await session.serve()
        finally:
            ended.set()
            del self._sessions[session]

    async def _say_farewell(self) -> None:
        """Stay until the foremen that have tasks here are gone, or for a moment: a foreman that asks right after the
        commitment must get its result."""
        ends = [ended for session, ended in self._sessions.items() if session.has_tasks]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._policy.farewell_s):
                for ended in ends:
                    await ended.wait()

    async def _close(self) -> None:
        await self._listener.close()
        await self._book.close()
        await self._ports.sandbox.close()
        await self._ports.results.close()
        logger.debug("stopped")


async def _regularly(chore: Callable[[], Awaitable[None]], pause_s: float) -> None:
    while True:
        await asyncio.sleep(pause_s)
        try:
            await chore()
        except Exception:
            logger.exception("housekeeping failed; retrying in %g s", pause_s)
