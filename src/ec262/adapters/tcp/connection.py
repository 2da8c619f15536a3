"""One connection, the same class at both ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from ec262.domain.errors import PeerError, PeerLost
from ec262.domain.messages import Message
from ec262.domain.wire import Decoder, encode

READ_BUFFER_BYTES = 1 << 20
CHUNK_BYTES = 256 << 10
"""Written, encrypted and read at a time: other connections get their turn in between."""

BEGUN_S = 10.0
MIN_BYTES_PER_S = 64 << 10
"""A message that has begun must end within ``BEGUN_S`` and what its size takes at this rate: no slow drip."""

GOODBYE_S = 2.0
"""For a peer to take what is still to be sent, when the connection is closed."""


class TcpConnection:
    """A Connection over a TLS stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._decoder = Decoder()
        self._sending = asyncio.Lock()
        self._broken = False

    @property
    def peer(self) -> str:
        """The peer's address, for people."""
        return self._peer

    async def send(self, message: Message, *, timeout_s: float) -> None:
        """Send one message. Raises PeerLost, also when the peer does not read."""
        data = memoryview(encode(message))
        try:
            async with asyncio.timeout(timeout_s), self._sending:
                await self._write(data)
        except TimeoutError:
            self._abort()
            raise PeerLost(f"the peer did not take a message within {timeout_s:.0f} s") from None
        except OSError as error:
            self._abort()
            raise PeerLost(f"the connection broke: {error}") from error

    async def receive(self, *, max_payload_bytes: int, timeout_s: float | None) -> Message:
        """Return the next message. Raises PeerLost, MessageTooLarge, ProtocolViolation."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        latest = math.inf if timeout_s is None else started + timeout_s
        received_bytes = 0
        try:
            async with asyncio.timeout_at(latest) as deadline:
                while (message := self._decoder.next_message(max_payload_bytes)) is None:
                    if self._decoder.begun:
                        allowed_s = BEGUN_S + received_bytes / MIN_BYTES_PER_S
                    data = await self._read()
                    self._decoder.feed(data)
                    received_bytes += len(data)
        except TimeoutError:
            self._abort()
            raise PeerLost("the peer was silent or too slow") from None
        except OSError as error:
            self._abort()
            raise PeerLost(f"the connection broke: {error}") from error
        except PeerError:
            self._abort()
            raise
        return message

    async def close(self) -> None:
        """Close it, whatever its state."""
        self._writer.close()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(GOODBYE_S):
                await self._writer.wait_closed()
        self._abort()

    async def _write(self, data: memoryview) -> None:
        try:
            for start in range(0, len(data), CHUNK_BYTES):
                self._writer.write(data[start : start + CHUNK_BYTES])
                await self._writer.drain()
        except asyncio.CancelledError:
            self._abort()  # half a message is out: nothing can follow it
            raise

    def _abort(self) -> None:
        self._writer.transport.abort()
