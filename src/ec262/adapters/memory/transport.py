"""Messages between objects of one process; they pass through the wire codec all the same."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import logging
from collections import deque
from collections.abc import Callable

import attrs

from ec262.domain.errors import ConfigurationError, PeerError, PeerLost
from ec262.domain.ports.transport import Admit, Handler
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.messages import Message
from ec262.domain.protocol.wire import Decoder, encode

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
        self.proven = False
        self._peer = peer
        self._incoming = incoming
        self._outgoing = outgoing
        self._decoder = Decoder()
        self._admitted = False  # the message that is arriving
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

    async def receive(self, *, max_payload_bytes: int, timeout_s: float | None, admit: Admit | None = None) -> Message:
        """Return the next message. Raises PeerLost, MessageTooLarge, ProtocolViolation."""
        if self._closed:
            raise PeerLost("the connection is closed")
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                while True:
                    announced = self._decoder.announced(max_payload_bytes)
                    if announced is not None and admit is not None and not self._admitted:
                        deadline.reschedule(None)  # whole messages travel in memory: nothing more is waited for
                        await admit(announced)
                        self._admitted = True
                    message = self._decoder.next_message(max_payload_bytes)
                    if message is not None:
                        self._admitted = False
                        return message
                    self._decoder.feed(await self._incoming.get())
        except TimeoutError:
            await self.close()
            raise PeerLost("the peer was silent") from None
        except PeerError:
            await self.close()
            raise

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


@attrs.frozen(kw_only=True)
class _Door:
    """A port with a listener."""

    endpoint: MemoryEndpoint
    accept: Callable[[MemoryConnection], None]


class MemoryNetwork:
    """The ports of one make-believe machine: make listeners and dialers from it."""

    def __init__(self) -> None:
        self._doors: dict[int, _Door] = {}
        self._free_ports = itertools.count(1024)

    def listener(self, port: int = 0) -> MemoryListener:
        """Make a listener for a port (0: any free one)."""
        return MemoryListener(self, port)

    def dialer(self) -> MemoryDialer:
        """Make a dialer."""
        return MemoryDialer(self)

    def open(self, port: int, accept: Callable[[MemoryConnection], None]) -> MemoryEndpoint:
        """Have connections to a port accepted. Raises ConfigurationError if it is taken."""
        port = port or next(free for free in self._free_ports if free not in self._doors)
        if port in self._doors:
            raise ConfigurationError(f"port {port} is taken: choose another port with -P")
        endpoint = MemoryEndpoint(port=port, fingerprint=hashlib.sha256(b"port %d" % port).hexdigest())
        self._doors[port] = _Door(endpoint=endpoint, accept=accept)
        return endpoint

    def shut(self, port: int) -> None:
        """Free a port."""
        self._doors.pop(port, None)

    def knock(self, address: WorkerAddress, connection: MemoryConnection) -> None:
        """Hand a connection to whoever listens. Raises PeerLost if that is not who is expected."""
        door = self._doors.get(address.port)
        if door is None:
            raise PeerLost(f"nobody listens on port {address.port}")
        if not hmac.compare_digest(door.endpoint.fingerprint, address.fingerprint):
            raise PeerLost("this is not the worker that was registered")
        door.accept(connection)


class MemoryListener:
    """The worker's side."""

    def __init__(self, network: MemoryNetwork, port: int) -> None:
        self._network = network
        self._port = port
        self._endpoint: MemoryEndpoint | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, handler: Handler) -> MemoryEndpoint:
        """Begin to listen. Raises ConfigurationError if the port is taken."""

        def accept(connection: MemoryConnection) -> None:
            task = asyncio.create_task(_serve(handler, connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._endpoint = self._network.open(self._port, accept)
        return self._endpoint

    async def close(self) -> None:
        """Stop listening, cancel the handlers and close every connection."""
        if self._endpoint is not None:
            self._network.shut(self._endpoint.port)
            self._endpoint = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _serve(handler: Handler, connection: MemoryConnection) -> None:
    try:
        await handler(connection)
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
        there, back = _Pipe(), _Pipe()
        number = next(self._dialed)
        self._network.knock(address, MemoryConnection(f"memory:{number}", incoming=there, outgoing=back))
        return MemoryConnection(f"memory:{address.port}", incoming=back, outgoing=there)
