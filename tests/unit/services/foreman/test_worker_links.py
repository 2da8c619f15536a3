"""A job's connections to its workers: made once, made again when lost, counted as they come and go."""

from __future__ import annotations

import asyncio

import pytest

from ec262.adapters.memory.transport import MemoryNetwork
from ec262.domain.errors import PeerLost
from ec262.domain.ports.transport import Connection
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.foreman_calls import BoughtReplica
from ec262.domain.protocol.messages import PROTOCOL_VERSIONS, Deliver, Hello, Welcome
from ec262.services.foreman.workers.worker_link import LinkPolicy
from ec262.services.foreman.workers.worker_links import WorkerLinks

POLICY = LinkPolicy(release="test", connect_s=1, reply_s=1)


class Host:
    """Greets foremen, and hangs up when told to."""

    def __init__(self) -> None:
        self.greeted = 0
        self.hang_up = asyncio.Event()

    async def handle(self, connection: Connection) -> None:
        assert isinstance(await connection.receive(max_payload_bytes=0, timeout_s=1), Hello)
        self.greeted += 1
        await connection.send(Welcome(version=PROTOCOL_VERSIONS[0], release="test"), timeout_s=1)
        await self.hang_up.wait()


async def hired(network: MemoryNetwork, host: Host) -> BoughtReplica:
    listener = network.listener()
    endpoint = await listener.start(host.handle)
    address = WorkerAddress(host="127.0.0.1", port=endpoint.port, fingerprint=endpoint.fingerprint)
    return BoughtReplica(worker="w" * 32, address=address, secret=bytes(16))


async def test_a_worker_is_connected_to_once_and_again_when_the_connection_was_lost() -> None:
    network, host = MemoryNetwork(), Host()
    replica = await hired(network, host)
    links = WorkerLinks(network.dialer(), POLICY)
    first, same = await asyncio.gather(links.to(replica), links.to(replica))
    assert first is same
    assert (links.connected, host.greeted) == (1, 1)

    host.hang_up.set()
    with pytest.raises(PeerLost):
        await first.fetch(Deliver(task="task-0001", secret=bytes(32)))
    assert links.connected == 0

    host.hang_up.clear()
    assert await links.to(replica) is not first
    assert (links.connected, host.greeted) == (1, 2)
    await links.close()
    assert links.connected == 0


async def test_one_that_cannot_be_reached_is_tried_again_and_never_counted() -> None:
    network, host = MemoryNetwork(), Host()
    replica = await hired(network, host)
    nowhere = BoughtReplica(
        worker=replica.worker, address=WorkerAddress(host="127.0.0.1", port=1, fingerprint="0" * 64), secret=bytes(16)
    )
    links = WorkerLinks(network.dialer(), POLICY)
    with pytest.raises(PeerLost):
        await links.to(nowhere)
    assert links.connected == 0
    await links.to(replica)
    assert links.connected == 1
    await links.close()


async def test_closing_ends_attempts_that_are_under_way() -> None:
    network, host = MemoryNetwork(), Host()

    async def silent(_connection: Connection) -> None:
        await host.hang_up.wait()

    endpoint = await network.listener().start(silent)
    address = WorkerAddress(host="127.0.0.1", port=endpoint.port, fingerprint=endpoint.fingerprint)
    links = WorkerLinks(network.dialer(), POLICY)
    attempt = asyncio.create_task(links.to(BoughtReplica(worker="w" * 32, address=address, secret=bytes(16))))
    await asyncio.sleep(0.01)
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    await links.close()
    assert links.connected == 0
