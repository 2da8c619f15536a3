"""The connections of one job: one to each worker that it has needed so far."""

from __future__ import annotations

import asyncio

from ec262.domain.ports.transport import Dialer
from ec262.domain.protocol.foreman_calls import BoughtReplica
from ec262.services.foreman.workers.worker_link import LinkPolicy, WorkerLink


class WorkerLinks:
    """Connects to a worker when it is first needed, and again if the connection was lost."""

    def __init__(self, dialer: Dialer, policy: LinkPolicy) -> None:
        self._dialer = dialer
        self._policy = policy
        self._links: dict[str, asyncio.Task[WorkerLink]] = {}
        self.connected = 0
        """How many connections are open. Counted as they come and go, since every event asks for it."""

    async def to(self, replica: BoughtReplica) -> WorkerLink:
        """Return the connection to a worker. Raises PeerError if it cannot be established."""
        link = self._links.get(replica.worker)
        if link is None or (link.done() and (link.cancelled() or link.exception() or link.result().lost)):
            link = self._links[replica.worker] = asyncio.create_task(self._open(replica))
        return await asyncio.shield(link)

    async def close(self) -> None:
        """Close all connections. Cancel everything that waits for one first."""
        for opening in self._links.values():
            opening.cancel()
        ended = await asyncio.gather(*self._links.values(), return_exceptions=True)
        await asyncio.gather(*(link.close() for link in ended if isinstance(link, WorkerLink)))

    async def _open(self, replica: BoughtReplica) -> WorkerLink:
        link = await WorkerLink.open(self._dialer, replica.address, self._policy, on_lost=self._count_lost)
        self.connected += 1
        return link

    def _count_lost(self) -> None:
        self.connected -= 1
