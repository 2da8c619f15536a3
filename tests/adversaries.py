"""Ways in which a worker can misbehave: each replaces one of its ports, the rest of the worker is the real one."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ec262.adapters.ciphers.aes_siv import AesSivCipher
from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.adapters.tcp.listener import TcpListener
from ec262.domain.errors import SandboxBroken, SandboxCrashed, SandboxLimitExceeded
from ec262.domain.ports.transport import Connection, Endpoint, Handler
from ec262.domain.protocol.messages import Delivered, Hello, Message, Ready, Refused
from ec262.domain.protocol.wire import encode
from ec262.domain.protocol.worker_calls import CommitmentsTaken, CommitResults
from ec262.domain.work.outcome import Failure, Pairs, decode_outcome, encode_outcome
from ec262.domain.work.work import Computed, Limits, Phase, Work
from ec262.domain.work.work_hash import WorkBinding

# --- in place of the sandbox ----------------------------------------------------------------------------------------


class Liar(UnconfinedSandbox):
    """Claims a result that nobody computed; with one ``lie`` for several workers they collude."""

    def __init__(self, lie: str) -> None:
        self._lie = lie

    async def run(self, work: Work, limits: Limits) -> Computed:
        return Computed(outcome=encode_outcome(Pairs(pairs=((self._lie, 1),))), log=b"")


class Denier(UnconfinedSandbox):
    """Claims that the job's own code failed."""

    async def run(self, work: Work, limits: Limits) -> Computed:
        failure = Failure(function="mapper", exception="ZeroDivisionError", row="1", frames=(("divide", 7),))
        return Computed(outcome=encode_outcome(failure), log=b"")


class Misnamer(UnconfinedSandbox):
    """Claims that the job yielded a key that no dict takes."""

    async def run(self, work: Work, limits: Limits) -> Computed:
        return Computed(outcome=encode_outcome(Pairs(pairs=(([1], 1),))), log=b"")


class Clasher(UnconfinedSandbox):
    """Adds a pair with a key that is equal to another, and has another type, to what the job yields in one phase."""

    def __init__(self, phase: Phase, key: Any) -> None:
        self._phase, self._key = phase, key

    async def run(self, work: Work, limits: Limits) -> Computed:
        computed = await super().run(work, limits)
        outcome = decode_outcome(computed.outcome)
        if work.phase is not self._phase or not isinstance(outcome, Pairs):
            return computed
        return Computed(outcome=encode_outcome(Pairs(pairs=(*outcome.pairs, (self._key, 1)))), log=b"")


class Crasher(UnconfinedSandbox):
    async def run(self, work: Work, limits: Limits) -> Computed:
        raise SandboxCrashed("the child died")


class Broken(UnconfinedSandbox):
    """Cannot run anything: the worker's own trouble."""

    async def run(self, work: Work, limits: Limits) -> Computed:
        raise SandboxBroken("no process could be started")


class Exhausted(UnconfinedSandbox):
    async def run(self, work: Work, limits: Limits) -> Computed:
        raise SandboxLimitExceeded("cpu", "5 s of processor time")


class Sleeper(UnconfinedSandbox):
    async def run(self, work: Work, limits: Limits) -> Computed:
        await asyncio.sleep(3600)
        raise AssertionError


class Unhurried(UnconfinedSandbox):
    """Honest, and slow enough that a foreman has sent all its work before the first of it is done."""

    async def run(self, work: Work, limits: Limits) -> Computed:
        await asyncio.sleep(0.2)
        return await super().run(work, limits)


# --- in place of the cipher -----------------------------------------------------------------------------------------


class WrongKey(AesSivCipher):
    """Encrypts with a key of its own."""

    def encrypt(self, plaintext: bytes, *, key: bytes, task: str, label: str, work: WorkBinding) -> bytes:
        return super().encrypt(plaintext, key=bytes(self.key_bytes), task=task, label=label, work=work)


class Replayer(AesSivCipher):
    """Seals honestly, and keeps what it sealed; told to replay, it passes that off as the result of any task."""

    def __init__(self) -> None:
        self.replaying = False
        self._kept: dict[str, bytes] = {}

    def encrypt(self, plaintext: bytes, *, key: bytes, task: str, label: str, work: WorkBinding) -> bytes:
        if not self.replaying:
            self._kept[label] = super().encrypt(plaintext, key=key, task=task, label=label, work=work)
        return self._kept[label]


# --- in place of the client of discovery ----------------------------------------------------------------------------


class Pretender(HttpDiscovery):
    """Says that it has committed and has not."""

    async def commit(self, command: CommitResults) -> CommitmentsTaken:
        return CommitmentsTaken(tasks=tuple(commitment.task for commitment in command.commitments), refused=())


# --- in place of the listener ---------------------------------------------------------------------------------------

Act = Callable[[Any, Any], Awaitable[None]]
"""Does something with a connection in place of sending a message."""


class Saboteur:
    """Listens on TCP as an honest worker would, but whenever a message of some kind is to be sent, ``act`` is done
    instead; ``acted`` counts how often."""

    def __init__(self, kind: type[Message] | tuple[type[Message], ...], act: Act) -> None:
        self.acted = 0
        self._listener = TcpListener("127.0.0.1", 0)
        self._kind = kind
        self._act = act

    async def start(self, handler: Handler) -> Endpoint:
        return await self._listener.start(lambda connection: handler(_Tampered(connection, self._send)))

    async def close(self) -> None:
        await self._listener.close()

    async def _send(self, connection: Connection, message: Message, timeout_s: float) -> None:
        if isinstance(message, self._kind):
            self.acted += 1
            await self._act(connection, message)
        else:
            await connection.send(message, timeout_s=timeout_s)


class _Tampered:
    """A Connection whose messages are sent by somebody else."""

    def __init__(self, connection: Connection, send: Callable[[Connection, Message, float], Awaitable[None]]) -> None:
        self._connection = connection
        self._send = send
        self.peer = connection.peer
        self.proven = False
        self.receive = connection.receive
        self.close = connection.close

    async def send(self, message: Message, *, timeout_s: float) -> None:
        await self._send(self._connection, message, timeout_s)


SOON_S = 10.0


def altered(data: bytes) -> bytes:
    """Other bytes than these, by one bit."""
    return data[:-1] + bytes([data[-1] ^ 1])


async def write(connection: Any, data: bytes | memoryview) -> None:
    """Send bytes that need not be a message; the connection may break meanwhile."""
    writer: asyncio.StreamWriter = connection._writer
    writer.write(data)
    await writer.drain()


async def write_piecewise(connection: Any, pieces: Sequence[bytes]) -> None:
    """Send much that need not be a message, and keep little of it here."""
    for piece in pieces:
        for at in range(0, len(piece), 1 << 20):
            await write(connection, memoryview(piece)[at : at + (1 << 20)])
            await asyncio.sleep(0)  # as long as the peer reads, no write waits; others want their turn


async def fall_silent(_connection: Any, _message: Any) -> None:
    await asyncio.Event().wait()


async def hang_up(connection: Any, _message: Any) -> None:
    await connection.close()


async def send_then_hang_up(connection: Any, message: Any) -> None:
    await connection.send(message, timeout_s=SOON_S)
    await asyncio.sleep(0.1)
    await connection.close()


async def send_garbage(connection: Any, message: Any) -> None:
    await write(connection, os.urandom(64 << 10))
    await fall_silent(connection, message)


async def announce_huge_header(connection: Any, message: Any) -> None:
    await write(connection, struct.pack(">II", 0xFFFFFFFF, 0))
    await fall_silent(connection, message)


async def announce_huge_payload(connection: Any, message: Any) -> None:
    await write(connection, struct.pack(">II", 60, 0xFFFFFFFF) + bytes(1 << 20))
    await fall_silent(connection, message)


async def send_huge(connection: Any, message: Any) -> None:
    await connection.send(Delivered(task=message.task, ciphertext=bytes(8 << 20), log=b""), timeout_s=SOON_S)


async def drip(connection: Any, message: Any) -> None:
    """Send the right message, a byte at a time."""
    for byte in b"".join(encode(message)):
        await write(connection, bytes([byte]))
        await asyncio.sleep(0.05)


async def flood(connection: Any, message: Any) -> None:
    """Send the message without end."""
    while True:
        await write(connection, b"".join(encode(message)) * 100)


async def flood_with_strays(connection: Any, _message: Any) -> None:
    """Send answers that nobody waits for, without end."""
    while True:
        await write(connection, b"".join(encode(Ready(task="nobodys-task"))) * 100)


async def push_delivery(connection: Any, message: Any) -> None:
    """Send a large result that nobody has asked for, all but its last byte."""
    header, ciphertext, *_ = encode(Delivered(task=message.task, ciphertext=bytes(60 << 20), log=b""))
    await write_piecewise(connection, (header, ciphertext[:-1]))
    await fall_silent(connection, message)


async def refuse(connection: Any, message: Any) -> None:
    await connection.send(Refused(task=message.task, reason="not today"), timeout_s=SOON_S)


async def greet_again(connection: Any, _message: Any) -> None:
    """Send what a worker never sends."""
    await connection.send(Hello(versions=(3,), release="evil"), timeout_s=SOON_S)


async def deliver_something_else(connection: Any, message: Any) -> None:
    other = Delivered(task=message.task, ciphertext=altered(message.ciphertext), log=message.log)
    await connection.send(other, timeout_s=SOON_S)
