"""The foreman's half of the protocol, against workers that keep to a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext

import attrs
import pytest

from ec262.adapters.memory.transport import MemoryNetwork
from ec262.domain.errors import PeerError, PeerLost, PeerRefused, ProtocolViolation, VersionMismatch
from ec262.domain.ports.transport import Connection
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.messages import (
    Assign,
    Committed,
    Deliver,
    Delivered,
    Failed,
    Hello,
    Message,
    Ready,
    Refused,
    Welcome,
)
from ec262.services.foreman.workers.worker_link import LinkPolicy, WorkerLink
from tests.work_messages import compute_message

POLICY = LinkPolicy(release="test", connect_s=1, reply_s=0.2, transfer_s=0.2)
TASK = "task-0001"
ASSIGN = Assign(task=TASK, secret=b"s" * 32)
DELIVER = Deliver(task=TASK, secret=b"d" * 32)
WORK = compute_message(TASK)
WELCOME = Welcome(version=3, release="test")

Script = Callable[[Connection], Awaitable[None]]


async def say(connection: Connection, *messages: Message) -> None:
    for message in messages:
        await connection.send(message, timeout_s=1)


async def hear(connection: Connection) -> Message:
    return await connection.receive(max_payload_bytes=1 << 20, timeout_s=1)


def answering(*replies: list[Message]) -> Script:
    """Return a worker that welcomes, and then gives one list of replies to each message."""

    async def script(connection: Connection) -> None:
        assert isinstance(await hear(connection), Hello)
        await say(connection, WELCOME)
        for answers in replies:
            await hear(connection)
            await say(connection, *answers)
        await asyncio.sleep(5)

    return script


@asynccontextmanager
async def linked(script: Script) -> AsyncIterator[WorkerLink]:
    network = MemoryNetwork()
    listener = network.listener()
    endpoint = await listener.start(script)
    address = WorkerAddress(host="127.0.0.1", port=endpoint.port, fingerprint=endpoint.fingerprint)
    link: WorkerLink | None = None
    try:
        link = await WorkerLink.open(network.dialer(), address, POLICY)
        yield link
    finally:
        if link is not None:
            await link.close()
        await listener.close()


async def greet(*replies: Message) -> None:
    async def script(connection: Connection) -> None:
        await hear(connection)
        await say(connection, *replies)
        await asyncio.sleep(5)

    async with linked(script):
        pass


async def test_a_task_is_assigned_computed_and_delivered() -> None:
    delivered = Delivered(task=TASK, ciphertext=b"c", log=b"l")
    replies: list[list[Message]] = [[Ready(task=TASK)], [Committed(task=TASK)], [delivered]]
    async with linked(answering(*replies)) as link:
        assert await link.compute(ASSIGN, nullcontext(WORK), deadline_s=1) == Committed(task=TASK)
        assert await link.fetch(DELIVER) == delivered
        assert not link.lost
    assert link.lost


async def test_a_failure_is_a_reply() -> None:
    failed = Failed(task=TASK, reason="5 s")
    async with linked(answering([Ready(task=TASK)], [failed])) as link:
        assert await link.compute(ASSIGN, nullcontext(WORK), deadline_s=1) == failed


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Welcome(version=99, release=""), VersionMismatch),
        (Refused(task="", reason="no version in common"), PeerRefused),
        (Ready(task=TASK), ProtocolViolation),
    ],
)
async def test_a_greeting_that_does_not_welcome(reply: Message, error: type[Exception]) -> None:
    with pytest.raises(error):
        await greet(reply)


async def test_a_worker_that_does_not_greet_is_lost() -> None:
    with pytest.raises(PeerLost):
        await greet()


@pytest.mark.parametrize(
    "replies",
    [[[Committed(task=TASK)]], [[Ready(task=TASK)], [Ready(task=TASK)]]],
    ids=["instead of Ready", "instead of Committed"],
)
async def test_replies_out_of_turn_are_violations(replies: list[list[Message]]) -> None:
    async with linked(answering(*replies)) as link:
        with pytest.raises(ProtocolViolation, match="expected"):
            await link.compute(ASSIGN, nullcontext(WORK), deadline_s=1)


async def test_an_invalid_delivery_is_a_violation() -> None:
    async with linked(answering([Ready(task=TASK)])) as link:
        with pytest.raises(ProtocolViolation, match="expected Delivered"):
            await link.fetch(DELIVER)


async def test_a_late_report_of_a_commitment_does_not_hide_the_delivery() -> None:
    delivered = Delivered(task=TASK, ciphertext=b"c", log=b"")
    async with linked(answering([Committed(task=TASK), delivered])) as link:
        assert await link.fetch(DELIVER) == delivered


async def test_refusals_carry_the_workers_reason() -> None:
    async with linked(answering([Refused(task=TASK, reason="no such\x1b assignment")])) as link:
        with pytest.raises(PeerRefused, match="no such\N{REPLACEMENT CHARACTER} assignment"):
            await link.compute(ASSIGN, nullcontext(WORK), deadline_s=1)


async def test_silence_ends_with_the_deadline() -> None:
    async with linked(answering([Ready(task=TASK)])) as link:
        with pytest.raises(PeerLost, match="no answer within"):
            await link.compute(ASSIGN, nullcontext(WORK), deadline_s=0.05)


async def test_a_reply_that_comes_too_late_is_passed_over() -> None:
    late, ready = Committed(task=TASK), Ready(task="task-0002")
    replies: list[list[Message]] = [[Ready(task=TASK)], [], [late, ready], [Committed(task="task-0002")]]
    async with linked(answering(*replies)) as link:
        with pytest.raises(PeerLost):
            await link.compute(ASSIGN, nullcontext(WORK), deadline_s=0.05)
        other = attrs.evolve(WORK, task="task-0002")
        reply = await link.compute(attrs.evolve(ASSIGN, task="task-0002"), nullcontext(other), deadline_s=1)
        assert reply == Committed(task="task-0002")


@pytest.mark.parametrize("task", [TASK, "nobodys-task"])
async def test_a_flood_of_replies_ends_the_connection(task: str) -> None:
    async with linked(answering([Ready(task=task)] * 3)) as link:
        with pytest.raises(PeerError):
            await link.compute(ASSIGN, nullcontext(WORK), deadline_s=1)
        await asyncio.sleep(0.01)
        assert link.lost


async def test_a_message_that_workers_never_send_ends_the_connection() -> None:
    async with linked(answering([Hello(versions=(3,), release="")])) as link:
        with pytest.raises(ProtocolViolation, match="unexpected Hello message from a worker"):
            await link.compute(ASSIGN, nullcontext(WORK), deadline_s=1)
        with pytest.raises(PeerLost, match="the connection was lost"):
            await link.fetch(DELIVER)


async def test_one_task_is_not_asked_for_twice_at_a_time() -> None:
    async with linked(answering([])) as link:
        first = asyncio.create_task(link.compute(ASSIGN, nullcontext(WORK), deadline_s=1))
        await asyncio.sleep(0)
        with pytest.raises(ProtocolViolation, match="already in progress"):
            await link.compute(ASSIGN, nullcontext(WORK), deadline_s=1)
        first.cancel()


async def test_closing_wakes_whoever_waits() -> None:
    async with linked(answering([])) as link:
        waiting = asyncio.create_task(link.compute(ASSIGN, nullcontext(WORK), deadline_s=10))
        await asyncio.sleep(0.01)
        await link.close()
        with pytest.raises(PeerLost, match="closed"):
            await waiting


async def test_a_failed_greeting_closes_the_connection() -> None:
    network = MemoryNetwork()
    dialer = network.dialer()
    made: list[Connection] = []

    class Spy:
        async def connect(self, address: WorkerAddress, *, timeout_s: float) -> Connection:
            made.append(await dialer.connect(address, timeout_s=timeout_s))
            return made[0]

    listener = network.listener()
    endpoint = await listener.start(lambda connection: say(connection, Refused(task="", reason="no")))
    address = WorkerAddress(host="127.0.0.1", port=endpoint.port, fingerprint=endpoint.fingerprint)
    with pytest.raises(PeerRefused):
        await WorkerLink.open(Spy(), address, POLICY)
    with pytest.raises(PeerLost):
        await say(made[0], DELIVER)
    await listener.close()


async def test_a_defect_while_reading_is_logged_and_wakes_whoever_waits(caplog: pytest.LogCaptureFixture) -> None:
    async with linked(answering([Ready(task=TASK)])) as link:
        waiting = asyncio.create_task(link.compute(ASSIGN, nullcontext(WORK), deadline_s=60))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WorkerLink, "_route", _fail)
            with pytest.raises(PeerLost, match="MemoryError"):
                async with asyncio.timeout(5):
                    await waiting
        assert link.lost
    assert "reading from a worker failed" in caplog.text


def _fail(*_: object) -> None:
    raise MemoryError


@pytest.mark.parametrize("size", [1, 1 << 20])
async def test_a_result_that_was_not_asked_for_is_not_received(size: int) -> None:
    pushed = Delivered(task=TASK, ciphertext=bytes(size), log=b"")
    async with linked(answering([pushed])) as link:
        with pytest.raises(PeerError, match=f"unrequested delivered message of {size} bytes"):
            await link.compute(ASSIGN, nullcontext(WORK), deadline_s=1)
        assert link.lost


async def test_a_result_is_received_once_for_each_request_and_of_the_task_requested() -> None:
    delivered = Delivered(task=TASK, ciphertext=b"c", log=b"l")
    async with linked(answering([delivered], [delivered, delivered])) as link:
        assert await link.fetch(DELIVER) == delivered
        assert await link.fetch(DELIVER) == delivered
        with pytest.raises(PeerError, match="unrequested"):
            await link.fetch(DELIVER)
    other = Delivered(task="task-0002", ciphertext=b"c", log=b"l")
    async with linked(answering([other])) as link:
        with pytest.raises(PeerError, match="unrequested"):
            await link.fetch(DELIVER)
