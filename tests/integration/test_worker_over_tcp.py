"""A worker behind real sockets: bad foremen, all at once, and an honest one among them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from ec262.adapters.tcp.dialer import TcpDialer
from ec262.adapters.tcp.listener import TcpListener
from ec262.adapters.tcp.tls import client_context
from ec262.domain.errors import PeerLost
from ec262.domain.ports.transport import Connection
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.messages import Committed, Delivered, Hello, Message, Ready, Refused, Welcome
from ec262.domain.protocol.wire import encode
from ec262.domain.protocol.worker_calls import Lease
from ec262.domain.work.work import Computed
from ec262.services.worker.worker import Worker
from tests.unit.services.worker.worker_doubles import RESULT, SECRET, TASK, Rig, assign, compute, deliver

HELLO = Hello(versions=(3,), release="test")


@pytest.fixture
async def rig() -> Rig:
    return Rig(stranger_s=0.5, greeting_s=0.5, slots=2)


@pytest.fixture
async def address(rig: Rig) -> AsyncIterator[WorkerAddress]:
    stop = asyncio.Event()
    joined: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
    listener = TcpListener("127.0.0.1", 0, handshake_s=0.5)
    running = asyncio.create_task(Worker(rig.ports, listener, rig.policy).run(stop, on_joined=joined.set_result))
    yield (await joined).address
    stop.set()
    async with asyncio.timeout(10):
        await running


class Foreman:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @classmethod
    async def at(cls, address: WorkerAddress) -> Foreman:
        foreman = cls(await TcpDialer().connect(address, timeout_s=5))
        assert isinstance(await foreman.ask(HELLO), Welcome)
        return foreman

    async def ask(self, message: Message) -> Message:
        await self.connection.send(message, timeout_s=5)
        return await self.hear()

    async def hear(self) -> Message:
        return await self.connection.receive(max_payload_bytes=1 << 20, timeout_s=5)


async def raw(address: WorkerAddress, data: bytes) -> None:
    """Say something in TLS and listen until the worker hangs up."""
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=client_context())
    with contextlib.suppress(OSError):
        writer.write(data)
        async with asyncio.timeout(10):
            await reader.read()
    writer.transport.abort()


async def garbage(address: WorkerAddress) -> None:
    await raw(address, os.urandom(100_000))


async def huge_frame(address: WorkerAddress) -> None:
    await raw(address, b"".join(encode(HELLO)) + struct.pack(">II", 100, 0xFFFFFFFF))


async def silence(address: WorkerAddress) -> None:
    await raw(address, b"")


async def silence_after_greeting(address: WorkerAddress) -> None:
    await raw(address, b"".join(encode(HELLO)))


async def plain_text(address: WorkerAddress) -> None:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    with contextlib.suppress(OSError):
        async with asyncio.timeout(10):
            await reader.read()
    writer.transport.abort()


async def work_without_assignment(address: WorkerAddress) -> None:
    foreman = await Foreman.at(address)
    with pytest.raises(PeerLost):
        await foreman.ask(compute("task-0666", rows=bytes(1 << 20)))
    await foreman.connection.close()


async def guessing(address: WorkerAddress) -> None:
    foreman = await Foreman.at(address)
    for number in range(20):
        try:
            assert isinstance(await foreman.ask(assign(secret=b"guess %010d" % number)), Refused)
        except PeerLost:
            break
    else:
        raise AssertionError("nobody stopped the guessing")
    await foreman.connection.close()


async def greeting_of_the_future(address: WorkerAddress) -> None:
    foreman = Foreman(await TcpDialer().connect(address, timeout_s=5))
    assert isinstance(await foreman.ask(Hello(versions=(99,), release="future")), Refused)
    await foreman.connection.close()


ABUSES: list[Callable[[WorkerAddress], Awaitable[None]]] = [
    garbage,
    huge_frame,
    silence,
    silence_after_greeting,
    plain_text,
    work_without_assignment,
    guessing,
    greeting_of_the_future,
]


async def test_an_honest_foreman_is_served_among_bad_ones(
    rig: Rig, address: WorkerAddress, caplog: pytest.LogCaptureFixture
) -> None:
    rig.discovery.assign()
    abuse = asyncio.gather(*(bad(address) for bad in ABUSES * 3))
    foreman = await Foreman.at(address)
    assert await foreman.ask(assign()) == Ready(task=TASK)
    assert await foreman.ask(compute(rows=bytes(1 << 20))) == Committed(task=TASK)
    assert isinstance(await foreman.ask(deliver()), Delivered)
    await abuse
    assert isinstance(await foreman.ask(deliver()), Delivered)
    await foreman.connection.close()
    assert len(rig.sandbox.runs) == 1
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


async def test_a_foreman_that_vanishes_while_its_task_is_computed_may_come_back(
    rig: Rig, address: WorkerAddress
) -> None:
    release = asyncio.Event()

    async def act() -> Computed:
        await release.wait()
        return Computed(outcome=RESULT, log=b"")

    rig.sandbox.act = act
    rig.discovery.assign()
    foreman = await Foreman.at(address)
    assert await foreman.ask(assign()) == Ready(task=TASK)
    await foreman.connection.send(compute(), timeout_s=5)
    await asyncio.sleep(0.1)
    await foreman.connection.close()
    release.set()
    await rig.discovery.called("commit", 1)
    again = await Foreman.at(address)
    assert isinstance(await again.ask(deliver()), Delivered)
    await again.connection.close()


async def test_a_foreman_that_does_not_read_holds_up_nobody(rig: Rig, address: WorkerAddress) -> None:
    async def act() -> Computed:
        return Computed(outcome=bytes(8 << 20), log=b"")

    rig.sandbox.act = act
    rig.discovery.assign()
    rig.discovery.assign("task-0002")
    deaf, other = await Foreman.at(address), await Foreman.at(address)
    await deaf.ask(assign())
    assert await deaf.ask(compute()) == Committed(task=TASK)
    for _ in range(10):
        await deaf.connection.send(deliver(), timeout_s=5)
    assert await other.ask(assign("task-0002", SECRET)) == Ready(task="task-0002")
    assert await other.ask(compute("task-0002")) == Committed(task="task-0002")
    await deaf.connection.close()
    await other.connection.close()
