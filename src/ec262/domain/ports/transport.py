"""Messages between a foreman and its workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.messages import Message
from ec262.domain.protocol.wire import Announcement

Admit = Callable[[Announcement], Awaitable[None]]
"""Decides on a message after its header and before its payload arrives, and waits until there is room for it."""


class Connection(Protocol):
    """An ordered, private stream of messages to one peer."""

    proven: bool
    """Set by the handler: whether the peer has proved its role. To make room, a full listener closes connections to
    peers that have not."""

    @property
    def peer(self) -> str:
        """The peer's address, for display."""
        ...

    async def send(self, message: Message, *, timeout_s: float) -> None:
        """Send one message; several asyncio tasks may send at once. Raises PeerLost, also if the peer accepts nothing
        for ``timeout_s`` or falls that far behind the slowest rate that the transport allows."""
        ...

    async def receive(self, *, max_payload_bytes: int, timeout_s: float | None, admit: Admit | None = None) -> Message:
        """Return the next message. ``admit`` is awaited once for each message, before its payload is received. The
        peer's timeout is suspended meanwhile, and an exception from ``admit`` ends the connection.

        Raises PeerLost if the connection is closed or no complete message arrives within ``timeout_s``; with None, only
        the wait for a message to begin is unlimited. Raises MessageTooLarge and ProtocolViolation. After any of these,
        the connection is unusable.
        """
        ...

    async def close(self) -> None:
        """Close the connection in any state. Never raises; may be called twice."""
        ...


class Dialer(Protocol):
    """The foreman's side."""

    async def connect(self, address: WorkerAddress, *, timeout_s: float) -> Connection:
        """Connect to a worker. Raises PeerLost, also if the certificate does not match the fingerprint."""
        ...


Handler = Callable[[Connection], Awaitable[None]]


class Listener(Protocol):
    """The worker's side: passes each connection to a handler, in its own asyncio task."""

    async def start(self, handler: Handler) -> Endpoint:
        """Start listening. Raises ConfigurationError if the port is not available."""
        ...

    async def close(self) -> None:
        """Stop listening and close every connection. May be called twice."""
        ...


class Endpoint(Protocol):
    """Where a listener listens."""

    @property
    def port(self) -> int:
        """The TCP port (or its equivalent in memory)."""
        ...

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, 64 hexadecimal digits."""
        ...
