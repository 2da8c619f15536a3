"""One foreman's connection to a worker: greet, then answer requests until it ends."""

from __future__ import annotations

import asyncio
import logging

from ec262.domain.errors import MessageTooLarge, PeerError, ProtocolViolation, VersionMismatch
from ec262.domain.ports.transport import Connection
from ec262.domain.protocol.messages import (
    Assign,
    Committed,
    Compute,
    Deliver,
    Delivered,
    Failed,
    Hello,
    Message,
    Ready,
    Refused,
    Welcome,
)
from ec262.domain.protocol.networks import address_block
from ec262.domain.protocol.wire import Announcement, negotiate
from ec262.services.worker.announcements import Line
from ec262.services.worker.task_book import NOT_ASSIGNED, TaskBook
from ec262.services.worker.worker_policy import WorkerPolicy

logger = logging.getLogger(__name__)

UNDER_WAY = "the task is already in progress on this connection"

UNREQUESTED_BYTES = 1 << 10
"""Work that arrives too early, or a second time, is received and refused if it is no larger than a greeting."""

Outcome = asyncio.Future[Committed | Failed]


class WorkerSession:
    """Speaks the worker's half of the protocol with one foreman.

    Until the foreman has proved an assignment, it gets little patience and may send no payload. Errors here end this
    connection and affect nothing else.
    """

    def __init__(self, connection: Connection, book: TaskBook, policy: WorkerPolicy) -> None:
        self._connection = connection
        self._book = book
        self._policy = policy
        host = connection.peer.rpartition(":")[0]
        self._block = address_block(host, host)
        self._proved: set[str] = set()
        self._awaited: set[str] = set()  # tasks whose work may arrive
        self._line = Line()
        self._computing: set[str] = set()  # tasks whose work has arrived
        self._checking = 0  # assignments that are being checked with discovery
        self._refusals = 0
        self._room = asyncio.Semaphore(policy.max_requests)
        self._delivering = asyncio.Lock()

    @property
    def has_tasks(self) -> bool:
        """Whether the foreman has proved an assignment on this connection."""
        return bool(self._proved)

    async def serve(self) -> None:
        """Serve the foreman until the connection ends. Its pending requests are then dropped, but not its
        computations."""
        logger.debug("%s: connected", self._connection.peer)
        try:
            async with asyncio.TaskGroup() as requests:
                await self._greet()
                while True:
                    await self._room_for_another()
                    requests.create_task(self._answer(await self._next_request()))
        except* PeerError as group:
            logger.debug("%s: %s", self._connection.peer, "; ".join(str(error) for error in group.exceptions))
        finally:
            self._arrived()
            self._line.free()
            self._book.proofs.drop(self._connection)
            self._book.abandon(self._awaited, self._line)

    async def _room_for_another(self) -> None:
        """Wait until another request can be answered; nothing is read meanwhile."""
        if not self._room.locked():
            await self._room.acquire()
            return
        # The room is mostly taken by work, or by what foremen can drag out: deliveries that they do not read.
        with self._line.taken(computing=2 * len(self._computing) >= self._policy.max_requests):
            await self._room.acquire()

    async def _greet(self) -> None:
        hello = await self._connection.receive(max_payload_bytes=0, timeout_s=self._policy.greeting_s)
        if not isinstance(hello, Hello):
            raise await self._sent_away(f"expected Hello, got {type(hello).__name__}")
        try:
            version = negotiate(hello.versions)
        except VersionMismatch as error:
            await self._send(Refused(task="", reason=f"worker of release {self._policy.release}: {error}"))
            raise
        await self._send(Welcome(version=version, release=self._policy.release))

    async def _next_request(self) -> Outcome | Assign | Deliver:
        """Return the next request that takes time. Quick ones are answered here, and work has already been handed on.

        While a stranger's assignment is checked, nothing else is read from it: the check decides how much may be read,
        and for how long. Once a foreman has proved one assignment, its others are checked concurrently.
        """
        while True:
            message = await self._connection.receive(
                max_payload_bytes=self._policy.max_payload_bytes,
                timeout_s=self._policy.session_s if self._proved else self._policy.stranger_s,
                admit=self._admit,
            )
            await asyncio.sleep(0)  # leaves others their turn if a peer sends without a pause
            match message:
                case Assign() if self._proved:
                    self._checking += 1
                    return message
                case Assign():
                    await self._check(message)
                case Compute():
                    begun = self._begin(message)
                    self._arrived()
                    del message  # refused work must not stay in memory while waiting for the next message
                    if not isinstance(begun, Refused):
                        return begun
                    await self._reply(begun)
                case Deliver():
                    return message
                case _:
                    raise await self._sent_away(f"unexpected {type(message).__name__} message from a foreman")

    async def _admit(self, announced: Announcement) -> None:
        """Reserve memory for a message before its payload is received. The only large messages allowed are work of
        tasks that were announced and accepted on this connection."""
        may_come = self._awaited or self._checking
        awaited = announced.kind == "compute" and announced.task in self._awaited
        if announced.payload_bytes <= (UNREQUESTED_BYTES if may_come else 0) and not awaited:
            return
        if not awaited:
            raise MessageTooLarge(f"unrequested {announced.kind} message of {announced.payload_bytes} bytes")
        if announced.memory_bytes > self._policy.max_pending_bytes:
            raise MessageTooLarge(
                f"work of {announced.memory_bytes} bytes exceeds the limit of {self._policy.max_pending_bytes}"
            )
        self._line.take()
        await self._book.intake.reserve(announced.task, self._block, announced.memory_bytes)
        self._line.arriving = announced.task

    def _arrived(self) -> None:
        if self._line.arriving is not None:
            self._book.intake.release(self._line.arriving)
            self._line.arriving = None
            self._line.free()

    async def _check(self, assign: Assign) -> None:
        reply = await self._book.assign(assign, self._line, stranger=not self._proved)
        if isinstance(reply, Ready):
            self._proved.add(assign.task)
            self._book.proofs.add(assign.task, self._connection)
            if assign.task in self._computing:
                reply = Refused(task=assign.task, reason=UNDER_WAY)
            else:
                self._awaited.add(assign.task)
        await self._reply(reply)

    def _begin(self, compute: Compute) -> Outcome | Refused:
        task = compute.task
        if task not in self._awaited:
            return Refused(task=task, reason=NOT_ASSIGNED)
        self._awaited.discard(task)
        begun = self._book.begin(compute)
        if not isinstance(begun, Refused):
            self._computing.add(task)
        return begun

    async def _answer(self, request: Outcome | Assign | Deliver) -> None:
        try:
            match request:
                case Assign():
                    try:
                        await self._check(request)
                    finally:
                        self._checking -= 1
                case Deliver():
                    # One at a time: a foreman cannot fill the memory with results that it does not read.
                    async with self._delivering:
                        await self._deliver(request)
                case _:
                    outcome = await request
                    self._computing.discard(outcome.task)
                    await self._reply(outcome)
        finally:
            self._room.release()

    async def _deliver(self, request: Deliver) -> None:
        deliveries = self._book.deliveries
        if not self._book.may_have(request):  # so it takes nobody's place
            await self._reply(Refused(task=request.task, reason=NOT_ASSIGNED))
            return
        self._book.proofs.add(request.task, self._connection)
        await deliveries.reserve(request.task, self._block, 1)
        try:
            reply = await self._book.deliver(request)
            await self._reply(reply)
            if isinstance(reply, Delivered):
                await self._book.delivered(request.task)
        finally:
            deliveries.release(request.task)

    async def _reply(self, reply: Message) -> None:
        if isinstance(reply, Refused):
            logger.info("%s: task %s: refused: %s", self._connection.peer, reply.task, reply.reason)
            # After a proven assignment only guesses count: discovery's outages and full memory are not the foreman's
            # fault.
            self._refusals += not self._proved or reply.reason == NOT_ASSIGNED
            if self._refusals > self._policy.max_refusals + len(self._proved):
                raise await self._sent_away("too many requests without an assignment")
        await self._send(reply)

    async def _sent_away(self, reason: str) -> ProtocolViolation:
        """Tell the foreman why the connection ends; return the error that ends it."""
        await self._send(Refused(task="", reason=reason))
        return ProtocolViolation(reason)

    async def _send(self, message: Message) -> None:
        await self._connection.send(message, timeout_s=self._policy.reply_s)
