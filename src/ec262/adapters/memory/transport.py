"""Messages between objects of one process; they pass through the wire codec all the same."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import logging
from collections import deque

import attrs

from ec262.domain.commands import WorkerAddress
from ec262.domain.errors import ConfigurationError, PeerError, PeerLost
from ec262.domain.messages import Message
from ec262.domain.ports.transport import Handler
from ec262.domain.wire import Decoder, encode

logger = logging.getLogger(__name__)

PIPE_MESSAGES = 16
"""Messages under way in one direction; then sending waits for the peer to read."""


class _Pipe:
    """One direction of a connection."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._closed = False
        self._changed = asyncio.Condition()

    async def put(self, data: bytes) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or len(self._messages) < PIPE_MESSAGES)
            if self._closed:
                raise PeerLost("the connection is closed")
            self._messages.append(data)
            self._changed.notify_all()

    async def get(self) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._messages)
            if not self._messages:
                raise PeerLost("the connection is closed")
            self._changed.notify_all()
            return self._messages.popleft()

    async def close(self) -> None:
        async with self._changed:
            self._closed = True
            self._changed.notify_all()


class MemoryConnection:
    """One end of a connection."""

    def __init__(self, peer: str, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._peer = peer
        self._incoming = incoming
        self._outgoing = outgoing
        self._decoder = Decoder()
        self._closed = False

    @property
    def peer(self) -> str:
        """The peer's address, for people."""
        return self._peer

    async def send(self, message: Message, *, timeout_s: float) -> None:
        """Send one message. Raises PeerLost."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._outgoing.put(b"".join(encode(message)))
        except TimeoutError:
            await self.close()
            raise PeerLost("the peer does not read") from None

    async def receive(self, *, max_payload_bytes: int, timeout_s: float | None) -> Message:
        """Return the next message. Raises PeerLost, MessageTooLarge, ProtocolViolation."""
        if self._closed:
            raise PeerLost("the connection is closed")
        try:
            async with asyncio.timeout(timeout_s):
                while (message := self._decoder.next_message(max_payload_bytes)) is None:
                    self._decoder.feed(await self._incoming.get())
        except TimeoutError:
            await self.close()
            raise PeerLost("the peer was silent") from None
        except PeerError:
            await self.close()
            raise
        return message

    async def close(self) -> None:
        """Close it; what was sent can still be read by the peer."""
        self._closed = True
        await self._outgoing.close()
        await self._incoming.close()


@attrs.frozen(kw_only=True)
class MemoryEndpoint:
    """Where a listener listens."""

    port: int
    fingerprint: str


class MemoryNetwork:
    """The ports of one make-believe machine: make listeners and dialers from it."""

    def __init__(self) -> None:
        self._listeners: dict[int, MemoryListener] = {}
        self._free_ports = itertools.count(1024)

    def listener(self, port: int = 0) -> MemoryListener:
        """Make a listener for a port (0: any free one)."""
        return MemoryListener(self, port)

    def dialer(self) -> MemoryDialer:
        """Make a dialer."""
        return MemoryDialer(self)

    def bind(self, listener: MemoryListener, port: int) -> MemoryEndpoint:
        """Give a port to a listener. Raises ConfigurationError if it is taken."""
        port = port or next(free for free in self._free_ports if free not in self._listeners)
        if port in self._listeners:
            raise ConfigurationError(f"port {port} is taken: choose another port with -P")
        self._listeners[port] = listener
        return MemoryEndpoint(port=port, fingerprint=hashlib.sha256(b"port %d" % port).hexdigest())

    def release(self, listener: MemoryListener) -> None:
        """Take a listener's port back."""
        self._listeners = {port: other for port, other in self._listeners.items() if other is not listener}

    def at(self, port: int) -> MemoryListener | None:
        """Return the listener at a port."""
        return self._listeners.get(port)


class MemoryListener:
    """The worker's side."""

    def __init__(self, network: MemoryNetwork, port: int) -> None:
        self._network = network
        self._port = port
        self._handler: Handler | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.endpoint: MemoryEndpoint | None = None

    async def start(self, handler: Handler) -> MemoryEndpoint:
        """Begin to listen. Raises ConfigurationError if the port is taken."""
        self.endpoint = endpoint = self._network.bind(self, self._port)
        self._handler = handler
        return endpoint

    async def close(self) -> None:
        """Stop listening, cancel the handlers and close every connection."""
        self._network.release(self)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def accept(self, connection: MemoryConnection) -> None:
        """Hand a new connection to the handler."""
        task = asyncio.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: MemoryConnection) -> None:
        try:
            if self._handler is not None:
                await self._handler(connection)
        except PeerError as error:
            logger.debug("%s: %s", connection.peer, error)
        except Exception:
            logger.exception("%s: the handler failed", connection.peer)
        finally:
            await connection.close()


class MemoryDialer:
    """The foreman's side."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._dialed = itertools.count(1)

    async def connect(self, address: WorkerAddress, *, timeout_s: float) -> MemoryConnection:  # noqa: ARG002 - at once
        """Connect to a worker, at once. Raises PeerLost, also if the fingerprint is not the listener's."""
        listener = self._network.at(address.port)
        if listener is None or listener.endpoint is None:
            raise PeerLost(f"nobody listens on port {address.port}")
        if not hmac.compare_digest(listener.endpoint.fingerprint, address.fingerprint):
            raise PeerLost("that is not the worker that was registered")
        there, back = _Pipe(), _Pipe()
        listener.accept(MemoryConnection(f"memory:{next(self._dialed)}", incoming=there, outgoing=back))
        return MemoryConnection(f"memory:{address.port}", incoming=back, outgoing=there)
