"""Foremen that misbehave, at workers that serve a good one meanwhile: over TCP in TLS, with discovery over HTTP."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from itertools import cycle
from typing import Any

import pytest

from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
from ec262.adapters.jobs.local_runtime import local_python
from ec262.adapters.tcp import tls
from ec262.adapters.tcp.dialer import TcpDialer
from ec262.domain.errors import PeerError
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.foreman_calls import BoughtTask, BuyTasks
from ec262.domain.protocol.messages import Assign, Committed, Compute, Deliver, Hello, Message, Ready, Refused, Welcome
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.protocol.wire import Decoder, encode
from ec262.services.foreman.workers.worker_link import LinkPolicy, WorkerLink
from tests.adversaries import write
from tests.system import make_job
from tests.tcp_system import HONEST, TcpSystem, tcp_system
from tests.work_messages import compute_message

TEXT = dict.fromkeys(range(8), "the quick fox and the lazy dog and the end")
COUNTS = Counter(word for line in TEXT.values() for word in line.split())
JOB = make_job(TEXT)

BOUND_S = 30.0
HELLO = Hello(versions=(3,), release="evil")
WRONG_SECRET = b"?" * 32
OTHER_HOST = "127.0.0.2"
"""Where those come from who open more connections than one host may."""

HOSTILE = "hostile-" + "h" * 40

Attack = Callable[[WorkerAddress, list[str]], Awaitable[None]]
"""One round against one worker, who knows the ids of the good foreman's tasks."""


def work(task: str, functions: bytes = b"", rows: bytes = b"[]") -> Compute:
    return compute_message(task, functions=functions, rows=rows)


@asynccontextmanager
async def greeted(address: WorkerAddress) -> AsyncIterator[Any]:
    connection = await TcpDialer().connect(address, timeout_s=5)
    try:
        await connection.send(HELLO, timeout_s=5)
        assert isinstance(await connection.receive(max_payload_bytes=0, timeout_s=5), Welcome)
        yield connection
    finally:
        await connection.close()


async def refused(connection: Any, message: Message) -> None:
    """Ask for what must be refused."""
    await connection.send(message, timeout_s=5)
    assert isinstance(await connection.receive(max_payload_bytes=0, timeout_s=5), Refused)


async def garbage_for_hello(address: WorkerAddress, _stolen: list[str]) -> None:
    connection = await TcpDialer().connect(address, timeout_s=5)
    await write(connection, os.urandom(64 << 10))
    await connection.close()


async def no_tls(address: WorkerAddress, _stolen: list[str]) -> None:
    _reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(os.urandom(1000))
    await asyncio.sleep(0.02)
    writer.transport.abort()


async def garbage(address: WorkerAddress, _stolen: list[str]) -> None:
    async with greeted(address) as connection:
        await write(connection, os.urandom(64 << 10))
        await connection.receive(max_payload_bytes=0, timeout_s=5)


async def half_a_frame(address: WorkerAddress, _stolen: list[str]) -> None:
    async with greeted(address) as connection:
        await write(connection, b"".join(encode(HELLO))[:-3])
        await asyncio.sleep(0.1)


async def a_huge_frame(address: WorkerAddress, _stolen: list[str]) -> None:
    async with greeted(address) as connection:
        await write(connection, struct.pack(">II", 100, 0xFFFFFFFF) + bytes(1 << 20))
        await connection.receive(max_payload_bytes=0, timeout_s=5)


async def a_foremans_turn_is_a_workers_message(address: WorkerAddress, stolen: list[str]) -> None:
    async with greeted(address) as connection:
        await refused(connection, Ready(task=stolen[0]))


async def hello_again(address: WorkerAddress, _stolen: list[str]) -> None:
    async with greeted(address) as connection:
        await refused(connection, HELLO)


async def stolen_tasks(address: WorkerAddress, stolen: list[str]) -> None:
    async with greeted(address) as connection:
        for task in stolen:
            await refused(connection, Assign(task=task, secret=WRONG_SECRET))


async def stolen_results(address: WorkerAddress, stolen: list[str]) -> None:
    async with greeted(address) as connection:
        for task in stolen:
            await refused(connection, Deliver(task=task, secret=WRONG_SECRET))


async def work_without_assignment(address: WorkerAddress, stolen: list[str]) -> None:
    async with greeted(address) as connection:
        for task in stolen:
            await refused(connection, work(task, rows=b""))
        await connection.send(work(stolen[0], functions=bytes(1 << 20)), timeout_s=5)
        await connection.receive(max_payload_bytes=0, timeout_s=5)


async def tasks_that_do_not_exist(address: WorkerAddress, _stolen: list[str]) -> None:
    async with greeted(address) as connection:
        while True:
            await refused(connection, Assign(task=os.urandom(16).hex(), secret=WRONG_SECRET))


async def silence(address: WorkerAddress, _stolen: list[str]) -> None:
    """Take every connection that one host can have."""
    with ExitStack() as connections:
        for _ in range(80):
            connection = socket.create_connection((address.host, address.port), 5, (OTHER_HOST, 0))
            connections.enter_context(connection)
        await asyncio.sleep(0.5)


ATTACKS: list[Attack] = [
    garbage_for_hello, no_tls, garbage, half_a_frame, a_huge_frame, a_foremans_turn_is_a_workers_message, hello_again,
    stolen_tasks, stolen_results, work_without_assignment, tasks_that_do_not_exist, silence,
]  # fmt: skip


@asynccontextmanager
async def under_attack(system: TcpSystem) -> AsyncIterator[Counter[str]]:
    """Have every worker attacked in every way, again and again; yield how many rounds were made."""
    rounds: Counter[str] = Counter()
    over = asyncio.Event()

    async def again_and_again(attack: Attack) -> None:
        for staff in cycle(system.staff):
            if over.is_set():
                break
            with suppress(PeerError, OSError):
                await attack(staff.lease.address, system.open_tasks() or ["a-task-of-nobody"])
            rounds[attack.__name__] += 1
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as attacks:
        for attack in ATTACKS:
            attacks.create_task(again_and_again(attack))
        yield rounds
        over.set()


async def test_good_jobs_go_on_amid_every_attack(caplog: pytest.LogCaptureFixture) -> None:
    async with tcp_system(HONEST, HONEST, HONEST, credits=300, slots=2) as system, asyncio.timeout(BOUND_S):
        async with under_attack(system) as rounds:
            while any(rounds[attack.__name__] < 3 for attack in ATTACKS):
                assert await system.run(JOB) == COUNTS
        tasks = system.spent // 3
        assert sum(map(system.credits_of, system.staff)) >= 2 * tasks > 0
        assert system.service.audit() == system.granted
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


# --- those who pay --------------------------------------------------------------------------------------------------


async def buy_for(system: TcpSystem, *, deadline_s: float = 30) -> BoughtTask:
    """Buy a task as a hostile foreman, who is as good as anybody until it speaks."""
    discovery = HttpDiscovery(system.url, token=HOSTILE, patience_s=5)
    order = BuyTasks(
        purchase=os.urandom(16).hex(),
        tasks=1,
        rule="majority:3",
        requirement=Requirement(python=local_python()),
        deadline_s=deadline_s,
    )
    [task] = (await discovery.buy(order)).tasks
    await discovery.close()
    return task


async def test_work_that_cannot_be_done_is_computed_and_paid_like_any() -> None:
    broken = [
        (b"no pickle", b"[]"),
        (b"", b"no rows"),
        (b"c__builtin__\nno_such_name\n.", b"[[1,2]]"),
        (bytes(1 << 20), b"[]"),
    ]
    async with tcp_system(HONEST, HONEST, HONEST) as system, asyncio.timeout(BOUND_S):
        system.service.accounts.open_with_grant(HOSTILE, 3 * len(broken))
        for functions, rows in broken:
            task = await buy_for(system)
            for replica in task.replicas:
                link = await WorkerLink.open(TcpDialer(), replica.address, LinkPolicy(release="evil"))
                assign = Assign(task=task.task, secret=replica.secret)
                reply = await link.compute(assign, nullcontext(work(task.task, functions, rows)), deadline_s=5)
                assert reply == Committed(task=task.task)
                await link.close()
        assert [system.credits_of(staff) for staff in system.staff] == [len(broken)] * 3
        assert await system.run(JOB) == COUNTS


class Flood:
    """A thread that sends one message again and again to a worker, to which it has proved a task, and reads nothing."""

    def __init__(self, address: WorkerAddress, proof: Assign, message: Message) -> None:
        self.sent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(address, proof, message))
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self, address: WorkerAddress, proof: Assign, message: Message) -> None:
        frames = b"".join(encode(message)) * 100
        with self._connected(address) as connection:
            connection.sendall(b"".join([*encode(HELLO), *encode(proof)]))
            while not self._stop.is_set():
                try:
                    connection.sendall(frames)
                    self.sent += 100
                except TimeoutError:
                    continue  # the worker does not read: just what it should do
                except OSError:
                    return  # or it has had enough

    @contextmanager
    def _connected(self, address: WorkerAddress) -> Iterator[ssl.SSLSocket]:
        plain = socket.create_connection((address.host, address.port), 5)
        with tls.client_context().wrap_socket(plain) as connection:
            connection.settimeout(0.1)
            yield connection


FLOODS: dict[str, Callable[[Assign], Message]] = {
    "wrong secrets": lambda proof: Assign(task=proof.task, secret=WRONG_SECRET),
    "right secrets": lambda proof: proof,
    "wrong delivery secrets": lambda proof: Deliver(task=proof.task, secret=WRONG_SECRET),
    "deliveries of nothing": lambda _proof: Deliver(task="nobodys-task", secret=WRONG_SECRET),
    "work": lambda proof: work(proof.task),
}


async def test_a_flood_from_one_who_pays_leaves_the_others_their_turn() -> None:
    async with tcp_system(HONEST, HONEST, HONEST, credits=300, slots=3) as system, asyncio.timeout(2 * BOUND_S):
        system.service.accounts.open_with_grant(HOSTILE, 3)
        task = await buy_for(system)
        calm_s = await duration_of_a_job(system)
        for name, message in FLOODS.items():
            proofs = {replica.address: Assign(task=task.task, secret=replica.secret) for replica in task.replicas}
            floods = [Flood(address, proof, message(proof)) for address, proof in proofs.items()]
            try:
                while not all(flood.sent for flood in floods):  # noqa: ASYNC110 - it is a thread that counts
                    await asyncio.sleep(0.02)
                assert await duration_of_a_job(system) < 5 * calm_s + 2, name
            finally:
                for flood in floods:
                    await asyncio.to_thread(flood.end)
        assert system.service.audit() == system.granted + 3


async def duration_of_a_job(system: TcpSystem) -> float:
    began = time.monotonic()
    assert await system.run(JOB) == COUNTS
    return time.monotonic() - began


# --- memory ---------------------------------------------------------------------------------------------------------

UNFINISHED_BYTES = 8 << 20


def undecoded_bytes() -> int:
    """Return what the connections that were made since ``gc.freeze`` have received of messages that are not whole."""
    return sum(len(found._buffer) for found in gc.get_objects() if isinstance(found, Decoder))


async def send_half(connection: Any, message: Message) -> None:
    frame = b"".join(encode(message))
    with suppress(PeerError, OSError):
        await write(connection, frame[: len(frame) // 2])


@pytest.fixture
def young_objects() -> Iterator[None]:
    """What other tests have left is not looked through."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("young_objects")
async def test_one_assignment_on_many_connections_has_one_frame_in_memory() -> None:
    async with tcp_system(HONEST, HONEST, HONEST, credits=300) as system, asyncio.timeout(BOUND_S):
        system.service.accounts.open_with_grant(HOSTILE, 3)
        task = await buy_for(system)
        replica = task.replicas[0]
        large = work(task.task, rows=bytes(2 * UNFINISHED_BYTES))
        async with AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(greeted(replica.address)) for _ in range(8)]
            for connection in connections:
                await connection.send(Assign(task=task.task, secret=replica.secret), timeout_s=5)
                assert isinstance(await connection.receive(max_payload_bytes=0, timeout_s=5), Ready)
            sending = [asyncio.create_task(send_half(connection, large)) for connection in connections]
            while undecoded_bytes() < UNFINISHED_BYTES:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)
            assert undecoded_bytes() < 1.5 * UNFINISHED_BYTES
            assert await system.run(JOB) == COUNTS
            for each in sending:
                each.cancel()
            await asyncio.wait(sending)
            # Each waits for the worker to take what is buffered: all at once.
            await asyncio.gather(*(connection.close() for connection in connections))


# --- connections ----------------------------------------------------------------------------------------------------


async def test_strangers_that_hold_all_connections_make_way() -> None:
    async with tcp_system(HONEST, HONEST, HONEST, credits=300) as system, asyncio.timeout(2 * BOUND_S):
        with ExitStack() as connections:
            for staff in system.staff:
                for number in range(256):
                    source = (f"127.0.0.{2 + number // 64}", 0)
                    address = (staff.lease.address.host, staff.lease.address.port)
                    connections.enter_context(await asyncio.to_thread(socket.create_connection, address, 5, source))
            assert await system.run(JOB) == COUNTS


async def test_one_assignment_does_not_keep_all_connections() -> None:
    async with tcp_system(HONEST, HONEST, HONEST, credits=300) as system, asyncio.timeout(2 * BOUND_S):
        system.service.accounts.open_with_grant(HOSTILE, 3)
        task = await buy_for(system)
        async with AsyncExitStack() as stack:
            for replica in task.replicas:
                for _ in range(64):  # as many as one address may have
                    connection = await stack.enter_async_context(greeted(replica.address))
                    await connection.send(Assign(task=task.task, secret=replica.secret), timeout_s=5)
                    assert isinstance(await connection.receive(max_payload_bytes=0, timeout_s=5), Ready)
            assert await system.run(JOB) == COUNTS


# --- slots ----------------------------------------------------------------------------------------------------------


async def trickle(connection: Any, message: Message) -> None:
    """Send a message as slowly as a worker allows."""
    frame = b"".join(encode(message))
    with suppress(PeerError, OSError):
        for start in range(0, len(frame), 16 << 10):
            await write(connection, frame[start : start + (16 << 10)])
            await asyncio.sleep(0.25)


@pytest.mark.parametrize("trickling", [False, True])
async def test_a_foreman_that_stays_and_sends_nothing_keeps_no_slot(*, trickling: bool) -> None:
    async with (
        tcp_system(HONEST, HONEST, HONEST, credits=300, slots=2, begin_s=1, transfers_s=1, look_s=0.1) as system,
        asyncio.timeout(BOUND_S),
        AsyncExitStack() as stack,
    ):
        system.service.accounts.open_with_grant(HOSTILE, 6)
        tasks = [await buy_for(system, deadline_s=24 * 3600) for _ in range(2)]
        sending = []
        for staff in system.staff:
            connection = await stack.enter_async_context(greeted(staff.lease.address))
            for task in tasks:
                secret = next(one.secret for one in task.replicas if one.worker == staff.lease.worker)
                await connection.send(Assign(task=task.task, secret=secret), timeout_s=5)
                assert isinstance(await connection.receive(max_payload_bytes=0, timeout_s=5), Ready)
            if trickling:  # the other task waits for its turn
                large = work(tasks[0].task, rows=bytes(UNFINISHED_BYTES))
                sending.append(asyncio.create_task(trickle(connection, large)))
        assert await system.run(JOB) == COUNTS
        for each in sending:
            each.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
