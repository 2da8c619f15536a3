"""Messages between a foreman and its workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.messages import Message
from ec262.domain.protocol.wire import Announcement

Admit = Callable[[Announcement], Awaitable[None]]
"""Decides on a message when its header has arrived and its payload has not; waits until there is room for it."""


class Connection(Protocol):
    """An ordered, private stream of messages to one peer."""

    proven: bool
    """Set by the handler: whether the peer has proved what it is. A full listener closes others to make room."""

    @property
    def peer(self) -> str:
        """The peer's address, for people."""
        ...

    async def send(self, message: Message, *, timeout_s: float) -> None:
        """Send one message; several tasks may send at once. Raises PeerLost, also when the peer takes nothing for
        ``timeout_s``, or is as much behind the slowest rate that the transport allows."""
        ...

    async def receive(self, *, max_payload_bytes: int, timeout_s: float | None, admit: Admit | None = None) -> Message:
        """Return the next message. ``admit`` is awaited once for each message, before its payload is received; the
        peer's time does not run meanwhile, and what ``admit`` raises ends the connection.

        Raises PeerLost (closed, or nothing whole within ``timeout_s``; None waits for ever for a message to begin,
        but not for one to end), MessageTooLarge, ProtocolViolation. After any of these the connection is useless.
        """
        ...

    async def close(self) -> None:
        """Close it, whatever its state. Never raises; may be called twice."""
        ...


class Dialer(Protocol):
    """The foreman's side."""

    async def connect(self, address: WorkerAddress, *, timeout_s: float) -> Connection:
        """Connect to a worker. Raises PeerLost, also if the certificate is not the pinned one."""
        ...


Handler = Callable[[Connection], Awaitable[None]]


class Listener(Protocol):
    """The worker's side: hands each connection to a handler, in a task of its own."""

    async def start(self, handler: Handler) -> Endpoint:
        """Begin to listen. Raises ConfigurationError if the port cannot be had."""
        ...

    async def close(self) -> None:
        """Stop listening and close every connection. May be called twice."""
        ...


class Endpoint(Protocol):
    """Where a listener listens."""

    @property
    def port(self) -> int:
        """The TCP port (or its likeness in memory)."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, 64 hexadecimal digits."""
        ...
