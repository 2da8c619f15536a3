"""One connection from a foreman to one worker, shared by all tasks that the worker computes for the job."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs

from ec262.domain.errors import MessageTooLarge, PeerError, PeerLost, PeerRefused, ProtocolViolation, VersionMismatch
from ec262.domain.ports.transport import Connection, Dialer
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.messages import (
    PROTOCOL_VERSIONS,
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
from ec262.domain.protocol.wire import MAX_PAYLOAD_BYTES, Announcement

logger = logging.getLogger(__name__)

FAST_BYTES_PER_S = 30e6
"""Over a faster link work is not packed: one core could pack it twice as fast, but the foreman's has better uses."""

MEASURED_BYTES = 1 << 20
"""Smaller messages do not measure a link: buffers take them at once."""

MAX_REPLIES = 2
"""Replies to one request: Ready and Committed to an announced task, Committed and Delivered to an early delivery."""


@attrs.frozen(kw_only=True)
class LinkPolicy:
    """Deadlines in seconds and the largest payload in bytes that a worker may send."""

    release: str
    connect_s: float = 10.0
    reply_s: float = 30.0
    transfer_s: float = 120.0
    max_result_bytes: int = MAX_PAYLOAD_BYTES
    """An upper bound: results beyond the tasks' limits are not received either."""


def _ignore() -> None:
    pass


class WorkerLink:
    """Speaks the foreman's half of the protocol; replies are matched by their task."""

    def __init__(
        self, connection: Connection, policy: LinkPolicy, on_lost: Callable[[], None], *, local: bool = True
    ) -> None:
        self._connection = connection
        self._policy = policy
        self._on_lost = on_lost
        self._local = local
        self.is_slow = not local
        """Whether to pack work: a guess until some has been sent."""
        self._waiting: dict[str, asyncio.Queue[Message | PeerError]] = {}
        self._expected = 0
        """Replies that may still arrive: a worker cannot keep us busy with more."""
        self._lost: PeerError | None = None
        self._fetching = asyncio.Lock()
        self._requested: str | None = None  # the task whose delivery was requested and has not begun
        self._reader: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        dialer: Dialer,
        address: WorkerAddress,
        policy: LinkPolicy,
        *,
        on_lost: Callable[[], None] = _ignore,
    ) -> WorkerLink:
        """Connect and agree on a version; ``on_lost`` is called once, when the established connection is lost.

        Raises PeerLost, PeerRefused, VersionMismatch, ProtocolViolation.
        """
        connection = await dialer.connect(address, timeout_s=policy.connect_s)
        link = cls(connection, policy, on_lost, local=_is_local(address.host))
        try:
            await link._greet()
        except BaseException:
            await connection.close()
            raise
        link._reader = asyncio.create_task(link._read())
        return link

    @property
    def lost(self) -> bool:
        """Whether the connection can no longer be used."""
        return self._lost is not None

    async def compute(
        self, assign: Assign, work: AbstractAsyncContextManager[Compute], *, deadline_s: float
    ) -> Committed | Failed:
        """Have a task computed; return once its result is committed or has failed. ``work`` is entered before the task
        is announced, since workers do not wait long for announced work, and left when the worker has received it.

        Raises PeerRefused, PeerLost (also if nothing arrives for ``deadline_s``), ProtocolViolation.
        """
        async with self._replies(assign.task) as replies:
            async with work as message:
                await self._send(assign)
                reply = await self._next(replies, self._policy.reply_s)
                if not isinstance(reply, Ready):
                    raise ProtocolViolation(f"expected Ready, got {type(reply).__name__}")
                await self._send(message)
            del message
            reply = await self._next(replies, deadline_s)
            if not isinstance(reply, Committed | Failed):
                raise ProtocolViolation(f"expected Committed or Failed, got {type(reply).__name__}")
            return reply

    async def fetch(self, deliver: Deliver) -> Delivered:
        """Fetch a result. Raises PeerRefused, PeerLost, ProtocolViolation."""
        # One at a time, as the worker delivers them: each gets the full timeout.
        async with self._fetching, self._replies(deliver.task) as replies:
            self._requested = deliver.task
            try:
                await self._send(deliver)
                reply = await self._next(replies, self._policy.transfer_s)
                if isinstance(reply, Committed):  # discovery announced the win before the worker reported its own
                    reply = await self._next(replies, self._policy.transfer_s)
            finally:
                self._requested = None
            if not isinstance(reply, Delivered):
                raise ProtocolViolation(f"expected Delivered, got {type(reply).__name__}")
            return reply

    async def close(self) -> None:
        """Close the connection; calls in progress raise PeerLost."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self._lose(PeerLost("the connection was closed"))
        await self._connection.close()

    async def _greet(self) -> None:
        await self._send(Hello(versions=PROTOCOL_VERSIONS, release=self._policy.release))
        match await self._connection.receive(max_payload_bytes=0, timeout_s=self._policy.reply_s):
            case Welcome(version=version) if version in PROTOCOL_VERSIONS:
                return
            case Welcome(version=version):
                raise VersionMismatch(f"the worker chose protocol version {version}, which was not offered")
            case Refused(reason=reason):
                raise PeerRefused(reason)
            case other:
                raise ProtocolViolation(f"expected Welcome, got {type(other).__name__}")

    async def _send(self, message: Message) -> None:
        size_bytes = len(message.functions) + len(message.rows) if isinstance(message, Compute) else 0
        began = asyncio.get_running_loop().time()
        await self._connection.send(message, timeout_s=self._policy.transfer_s)
        if size_bytes >= MEASURED_BYTES and not self._local:
            self.is_slow = size_bytes < FAST_BYTES_PER_S * (asyncio.get_running_loop().time() - began)

    async def _read(self) -> None:
        """Pass each reply to the call that waits for its task, until the connection ends."""
        try:
            while True:
                message = await self._connection.receive(
                    max_payload_bytes=self._policy.max_result_bytes,
                    timeout_s=None,
                    admit=self._admit,
                )
                self._route(message)
        except PeerError as error:
            await self._drop(error)
        except Exception as error:
            # Nobody awaits this task, so calls in progress must learn that no reply will come.
            logger.exception("reading from a worker failed")
            await self._drop(PeerLost(f"reading failed: {type(error).__name__}"))

    async def _admit(self, announced: Announcement) -> None:
        """Reject large messages, except for one delivery per request."""
        if not announced.payload_bytes:
            return
        if announced.kind != "delivered" or announced.task != self._requested:
            raise MessageTooLarge(f"unrequested {announced.kind} message of {announced.payload_bytes} bytes")
        self._requested = None

    async def _drop(self, error: PeerError) -> None:
        self._lose(error)
        await self._connection.close()

    def _route(self, message: Message) -> None:
        if not isinstance(message, Ready | Refused | Committed | Failed | Delivered):
            raise ProtocolViolation(f"unexpected {type(message).__name__} message from a worker")
        self._expected -= 1
        if self._expected < 0:
            raise ProtocolViolation("more replies than requests")
        replies = self._waiting.get(message.task)
        if replies is not None:  # otherwise it is too late: nobody waits for this task any more
            replies.put_nowait(message)

    def _lose(self, error: PeerError) -> None:
        if self._lost is None:
            self._lost = error
            self._on_lost()
        for replies in self._waiting.values():
            replies.put_nowait(error)

    @asynccontextmanager
    async def _replies(self, task: str) -> AsyncIterator[asyncio.Queue[Message | PeerError]]:
        if self._lost is not None:
            raise PeerLost(f"the connection was lost: {self._lost}")
        if task in self._waiting:
            raise ProtocolViolation(f"task {task} is already in progress on this connection")
        replies: asyncio.Queue[Message | PeerError] = asyncio.Queue()
        self._expected += MAX_REPLIES
        self._waiting[task] = replies
        try:
            yield replies
        finally:
            del self._waiting[task]

    async def _next(self, replies: asyncio.Queue[Message | PeerError], timeout_s: float) -> Message:
        try:
            async with asyncio.timeout(timeout_s):
                reply = await replies.get()
        except TimeoutError:
            raise PeerLost(f"no answer within {timeout_s:.0f} s") from None
        if isinstance(reply, PeerError):
            raise reply
        if isinstance(reply, Refused):
            raise PeerRefused(reply.reason)
        return reply


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
