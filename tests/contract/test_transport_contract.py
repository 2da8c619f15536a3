"""What every transport must do, run over TCP with TLS and over the in-memory twin."""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import pytest

from ec262.adapters.memory.transport import MemoryNetwork
from ec262.adapters.tcp.dialer import TcpDialer
from ec262.adapters.tcp.listener import TcpListener
from ec262.domain.errors import ConfigurationError, MessageTooLarge, PeerLost
from ec262.domain.ports.transport import Connection, Dialer, Endpoint, Handler, Listener
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.messages import Committed, Deliver, Delivered, Hello, Message, Ready
from ec262.domain.protocol.wire import Announcement
from ec262.domain.work.work import Phase
from tests.work_messages import compute_message

SOON_S = 5.0
HELLO = Hello(versions=(3,), release="test")


class Transport(Protocol):
    def listener(self, port: int = 0) -> Listener: ...

    def dialer(self) -> Dialer: ...


class TcpTransport:
    def listener(self, port: int = 0) -> TcpListener:
        return TcpListener("127.0.0.1", port)

    def dialer(self) -> TcpDialer:
        return TcpDialer()


class Host:
    """A transport and the listeners that a test started on it."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.listeners: list[Listener] = []

    async def listen(self, handler: Handler, port: int = 0) -> WorkerAddress:
        listener = self.transport.listener(port)
        self.listeners.append(listener)
        return _address(await listener.start(handler))

    async def connect(self, address: WorkerAddress) -> Connection:
        return await self.transport.dialer().connect(address, timeout_s=SOON_S)


@pytest.fixture(params=[MemoryNetwork, TcpTransport])
async def host(request: pytest.FixtureRequest) -> AsyncIterator[Host]:
    make: Callable[[], Transport] = request.param
    host = Host(make())
    yield host
    for listener in host.listeners:
        await listener.close()
        await listener.close()


def _address(endpoint: Endpoint) -> WorkerAddress:
    return WorkerAddress(host="127.0.0.1", port=endpoint.port, fingerprint=endpoint.fingerprint)


async def receive(connection: Connection, *, limit: int = 1 << 20, timeout_s: float | None = SOON_S) -> Message:
    return await connection.receive(max_payload_bytes=limit, timeout_s=timeout_s)


async def echo(connection: Connection) -> None:
    while True:
        try:
            message = await receive(connection, limit=1 << 30, timeout_s=None)
        except PeerLost:
            return
        await connection.send(message, timeout_s=SOON_S)


async def silent(connection: Connection) -> None:
    await asyncio.sleep(60)


async def test_messages_arrive_whole_and_in_order(host: Host) -> None:
    connection = await host.connect(await host.listen(echo))
    payload = os.urandom(3_000_000)
    sent: list[Message] = [
        HELLO,
        compute_message("t" * 8, phase=Phase.REDUCE, rows=payload),
        Deliver(task="t" * 8, secret=b"s" * 32),
        Delivered(task="t" * 8, ciphertext=payload, log=b"log"),
    ]
    for message in sent:
        await connection.send(message, timeout_s=SOON_S)
    assert [await receive(connection, limit=1 << 23) for _ in sent] == sent
    await connection.close()


async def test_several_may_send_at_once(host: Host) -> None:
    connection = await host.connect(await host.listen(echo))
    sent = [Delivered(task=f"task-{n:04}", ciphertext=bytes([n]) * 100_000, log=b"") for n in range(10)]
    sending = asyncio.gather(*(connection.send(message, timeout_s=SOON_S) for message in sent))
    received = [await receive(connection) for _ in sent]
    await sending
    assert sorted(received, key=str) == sorted(sent, key=str)
    await connection.close()


async def test_both_ends_know_their_peer(host: Host) -> None:
    peers: list[str] = []

    async def handler(connection: Connection) -> None:
        peers.append(connection.peer)

    connection = await host.connect(await host.listen(handler))
    with pytest.raises(PeerLost):
        await receive(connection)
    assert peers
    assert connection.peer
    await connection.close()


async def test_a_payload_beyond_the_limit_ends_the_connection(host: Host) -> None:
    connection = await host.connect(await host.listen(echo))
    message = Delivered(task="t" * 8, ciphertext=b"x" * 1001, log=b"")
    await connection.send(message, timeout_s=SOON_S)
    with pytest.raises(MessageTooLarge):
        await receive(connection, limit=1000)
    with pytest.raises(PeerLost):
        await receive(connection)
    await connection.close()


async def test_the_limit_may_change_with_each_message(host: Host) -> None:
    connection = await host.connect(await host.listen(echo))
    large = Delivered(task="t" * 8, ciphertext=b"x" * 1000, log=b"")
    for message in (HELLO, large):
        await connection.send(message, timeout_s=SOON_S)
    assert await receive(connection, limit=0) == HELLO
    assert await receive(connection, limit=1000) == large
    await connection.close()


async def test_silence_is_not_waited_for_longer_than_said(host: Host) -> None:
    connection = await host.connect(await host.listen(silent))
    with pytest.raises(PeerLost):
        await receive(connection, timeout_s=0.05)
    with pytest.raises(PeerLost):
        await receive(connection)
    await connection.close()


async def test_a_message_may_be_awaited_indefinitely(host: Host) -> None:
    async def late(connection: Connection) -> None:
        await asyncio.sleep(0.05)
        await connection.send(HELLO, timeout_s=SOON_S)
        await asyncio.sleep(60)

    connection = await host.connect(await host.listen(late))
    assert await receive(connection, timeout_s=None) == HELLO
    await connection.close()


async def test_a_peer_that_does_not_read_is_given_up(host: Host) -> None:
    connection = await host.connect(await host.listen(silent))
    endless = Delivered(task="t" * 8, ciphertext=bytes(4 << 20), log=b"")

    async def talk() -> None:
        while True:
            await connection.send(endless, timeout_s=0.2)

    with pytest.raises(PeerLost):
        await talk()
    with pytest.raises(PeerLost):
        await receive(connection)
    await connection.close()


async def test_data_sent_before_closing_arrive(host: Host) -> None:
    async def parting(connection: Connection) -> None:
        await connection.send(Ready(task="t" * 8), timeout_s=SOON_S)
        await connection.send(Delivered(task="t" * 8, ciphertext=bytes(1 << 20), log=b""), timeout_s=SOON_S)

    connection = await host.connect(await host.listen(parting))
    assert await receive(connection) == Ready(task="t" * 8)
    assert isinstance(await receive(connection), Delivered)
    with pytest.raises(PeerLost):
        await receive(connection)
    await connection.close()


async def test_a_closed_connection_can_neither_send_nor_receive(host: Host) -> None:
    ended = asyncio.Event()

    async def handler(connection: Connection) -> None:
        with pytest.raises(PeerLost):
            await receive(connection)
        await connection.close()
        ended.set()

    connection = await host.connect(await host.listen(handler))
    await connection.close()
    await connection.close()
    async with asyncio.timeout(SOON_S):
        await ended.wait()
    with pytest.raises(PeerLost):
        await receive(connection)
    with pytest.raises(PeerLost):
        await connection.send(HELLO, timeout_s=SOON_S)


async def test_closing_wakes_who_waits_for_a_message(host: Host) -> None:
    connection = await host.connect(await host.listen(silent))
    waiting = asyncio.create_task(receive(connection, timeout_s=None))
    await asyncio.sleep(0.01)
    await connection.close()
    with pytest.raises(PeerLost):
        await waiting


async def test_a_cancelled_receive_loses_nothing(host: Host) -> None:
    connection = await host.connect(await host.listen(echo))
    waiting = asyncio.create_task(receive(connection))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait([waiting])
    await connection.send(HELLO, timeout_s=SOON_S)
    assert await receive(connection) == HELLO
    await connection.close()


async def test_only_the_pinned_certificate_will_do(host: Host) -> None:
    address = await host.listen(echo)
    other = WorkerAddress(host=address.host, port=address.port, fingerprint="0" * 64)
    with pytest.raises(PeerLost, match="not the worker that was registered"):
        await host.connect(other)


async def test_nobody_there(host: Host) -> None:
    address = await host.listen(echo)
    await host.listeners[0].close()
    with pytest.raises(PeerLost):
        await host.connect(address)


async def test_a_port_is_taken_once(host: Host) -> None:
    address = await host.listen(echo)
    with pytest.raises(ConfigurationError, match="-P"):
        await host.listen(echo, address.port)
    await host.listeners[0].close()
    again = await host.listen(echo, address.port)
    assert again.port == address.port


async def test_two_listeners_are_distinguished(host: Host) -> None:
    first, second = await host.listen(echo), await host.listen(echo)
    assert first.port != second.port
    assert first.fingerprint != second.fingerprint


async def test_a_failing_handler_hurts_nobody_else(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(connection: Connection) -> None:
        if await receive(connection) != HELLO:
            raise RuntimeError("a defect")
        await connection.send(HELLO, timeout_s=SOON_S)

    address = await host.listen(handler)
    broken, fine = await host.connect(address), await host.connect(address)
    await broken.send(Committed(task="t" * 8), timeout_s=SOON_S)
    with pytest.raises(PeerLost):
        await receive(broken)
    await fine.send(HELLO, timeout_s=SOON_S)
    assert await receive(fine) == HELLO
    assert "the handler failed" in caplog.text
    await broken.close()
    await fine.close()


async def test_a_handler_may_end_with_its_peers_misbehaviour(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(connection: Connection) -> None:
        await receive(connection, limit=0)

    connection = await host.connect(await host.listen(handler))
    await connection.send(Delivered(task="t" * 8, ciphertext=b"x", log=b""), timeout_s=SOON_S)
    with pytest.raises(PeerLost):
        await receive(connection)
    assert not caplog.records
    await connection.close()


async def test_closing_the_listener_ends_its_handlers(host: Host) -> None:
    cancelled = asyncio.Event()

    async def handler(connection: Connection) -> None:
        try:
            await receive(connection, timeout_s=None)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    connection = await host.connect(await host.listen(handler))
    await asyncio.sleep(0.05)
    await host.listeners[0].close()
    assert cancelled.is_set()
    with pytest.raises(PeerLost):
        await receive(connection)
    await connection.close()


async def test_a_message_is_admitted_once_before_its_payload_is_received(host: Host) -> None:
    connection = await host.connect(await host.listen(echo))
    asked: list[Announcement] = []
    open_door = asyncio.Event()

    async def admit(announced: Announcement) -> None:
        asked.append(announced)
        await open_door.wait()

    sent: list[Message] = [compute_message("t" * 8, rows=bytes(3_000_000), packed=True), HELLO]
    for message in sent:
        await connection.send(message, timeout_s=SOON_S)
    first = asyncio.create_task(connection.receive(max_payload_bytes=1 << 23, timeout_s=0.3, admit=admit))
    await asyncio.sleep(0.6)  # a peer whose message is not let in is not silent
    assert not first.done()
    open_door.set()
    assert await first == sent[0]
    assert await connection.receive(max_payload_bytes=1 << 23, timeout_s=SOON_S, admit=admit) == sent[1]
    payload_bytes = len(zlib.compress(bytes(3_000_000)))
    assert asked == [
        Announcement(kind="compute", task="t" * 8, payload_bytes=payload_bytes, memory_bytes=payload_bytes + 3_000_000),
        Announcement(kind="hello", task="", payload_bytes=0, memory_bytes=0),
    ]
    await connection.close()


async def test_a_message_that_is_not_admitted_ends_the_connection(host: Host) -> None:
    async def admit(_announced: Announcement) -> None:
        raise MessageTooLarge("not now")

    connection = await host.connect(await host.listen(echo))
    await connection.send(HELLO, timeout_s=SOON_S)
    with pytest.raises(MessageTooLarge, match="not now"):
        await connection.receive(max_payload_bytes=0, timeout_s=SOON_S, admit=admit)
    with pytest.raises(PeerLost):
        await receive(connection)
    await connection.close()


async def test_closing_goes_on_when_somebody_else_who_closes_is_cancelled(host: Host) -> None:
    connection = await host.connect(await host.listen(silent))
    first = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await connection.close()
