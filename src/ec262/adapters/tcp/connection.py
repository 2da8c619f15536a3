"""One connection, the same class at both ends."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Iterator, Sequence

from ec262.domain.errors import PeerError, PeerLost
from ec262.domain.ports.transport import Admit
from ec262.domain.protocol.messages import Message
from ec262.domain.protocol.wire import Decoder, encode

READ_BUFFER_BYTES = 256 << 10
"""Twice as much may wait in memory, unread; then the peer has to wait."""

CHUNK_BYTES = 256 << 10
"""Encrypted, written and read at a time: other connections get their turn in between."""

BEGUN_S = 10.0
MIN_BYTES_PER_S = 64 << 10
"""A message that has begun must arrive at this rate, and may fall ``BEGUN_S`` behind at any time: no slow drip, and no
stall behind a fast start. Messages that are sent must be taken at the same rate."""

GOODBYE_S = 2.0
"""For the peer to take what is still to be sent, when the connection is closed."""

KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A silent peer that is gone (no power, no network) is noticed after two minutes."""


class _Pace:
    """Until when a peer may stall: at most ``most_s`` from now, and less when it was slower than the rate before."""

    def __init__(self, now: float, most_s: float) -> None:
        self._most_s = most_s
        self.until = now + most_s

    def moved(self, now: float, size_bytes: int) -> None:
        """Count bytes that were sent or received."""
        self.until = min(now + self._most_s, self.until + size_bytes / MIN_BYTES_PER_S)


class TcpConnection:
    """A Connection over a TLS stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        self.proven = False
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._decoder = Decoder()
        self._admitted = False  # the message that is arriving
        self._sending = asyncio.Lock()
        self._closed = False
        _set_options(writer.get_extra_info("socket"))

    @property
    def peer(self) -> str:
        """The peer's address, for people."""
        return self._peer

    async def send(self, message: Message, *, timeout_s: float) -> None:
        """Send one message. Raises PeerLost, also when the peer does not read."""
        pieces = encode(message)
        try:
            # The clock begins with the message's own turn: those before it have clocks of their own.
            async with self._sending, asyncio.timeout(None) as deadline:
                await self._write(pieces, timeout_s, deadline)
        except TimeoutError:
            self.abort()
            raise PeerLost(f"the peer stopped taking a message, or was {timeout_s:.0f} s too slow") from None
        except OSError as error:
            self.abort()
            raise PeerLost(f"the connection broke: {error}") from error

    async def receive(self, *, max_payload_bytes: int, timeout_s: float | None, admit: Admit | None = None) -> Message:
        """Return the next message. Raises PeerLost, MessageTooLarge, ProtocolViolation."""
        try:
            return await self._receive(max_payload_bytes, math.inf if timeout_s is None else timeout_s, admit)
        except TimeoutError:
            self.abort()
            raise PeerLost("the peer was silent or too slow") from None
        except OSError as error:
            self.abort()
            raise PeerLost(f"the connection broke: {error}") from error
        except PeerError:
            self.abort()
            raise

    async def close(self) -> None:
        """Close it, whatever its state."""
        self._closed = True
        if not self._writer.is_closing():  # a second time would break the transport (Python 3.11.2)
            self._writer.close()
        with contextlib.suppress(OSError):  # of which TimeoutError is a kind
            async with asyncio.timeout(GOODBYE_S):
                await self._wait_closed()
        self.abort()

    async def _wait_closed(self) -> None:
        try:
            await self._writer.wait_closed()
        except asyncio.CancelledError:
            # All who wait share one future: whoever is cancelled meanwhile cancels it for the others, too.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise

    async def _write(self, pieces: Sequence[bytes], timeout_s: float, deadline: asyncio.Timeout) -> None:
        now = asyncio.get_running_loop().time
        pace = _Pace(now(), timeout_s)
        try:
            for chunk in _chunks(pieces):
                self._check_open()
                deadline.reschedule(pace.until)
                self._writer.write(chunk)
                await self._writer.drain()
                pace.moved(now(), len(chunk))
                # A transport that broke takes what is written and drops it, without a word until the loop had its
                # turn; and while it takes all, drain() gives the loop none.
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.abort()  # half a message is out: nothing can follow it
            raise

    async def _receive(self, max_payload_bytes: int, timeout_s: float, admit: Admit | None) -> Message:
        now = asyncio.get_running_loop().time
        latest, pace = now() + timeout_s, _Pace(now(), BEGUN_S)
        self._check_open()
        async with asyncio.timeout(None) as deadline:
            while True:
                announced = self._decoder.announced(max_payload_bytes)
                if announced is not None and admit is not None and not self._admitted:
                    deadline.reschedule(None)
                    asked_at = now()
                    await admit(announced)
                    self._admitted = True
                    latest, pace = latest + now() - asked_at, _Pace(now(), BEGUN_S)
                    self._check_open()
                message = self._decoder.next_message(max_payload_bytes)
                if message is not None:
                    self._admitted = False
                    return message
                if self._decoder.begun:
                    deadline.reschedule(min(latest, pace.until))
                elif latest < math.inf:
                    deadline.reschedule(latest)
                data = await self._reader.read(CHUNK_BYTES)
                if not data:
                    raise PeerLost("the peer closed the connection")
                if self._decoder.begun:
                    pace.moved(now(), len(data))
                else:
                    pace = _Pace(now(), BEGUN_S)
                self._decoder.feed(data)

    def _check_open(self) -> None:
        if self._closed:
            raise PeerLost("the connection is closed")

    def abort(self) -> None:
        """Close it at once, whatever is still to be sent."""
        self._closed = True
        self._writer.transport.abort()


def _chunks(pieces: Sequence[bytes]) -> Iterator[bytes | memoryview]:
    """Cut a message into portions to write; a small one stays whole."""
    if sum(map(len, pieces)) <= CHUNK_BYTES:
        yield b"".join(pieces)
        return
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), CHUNK_BYTES):
            yield view[start : start + CHUNK_BYTES]


def _set_options(connected: socket.socket) -> None:
    # Without TCP_NODELAY a second small message waits 40 ms for the peer's delayed ACK; asyncio sets it on some sockets
    # only, not on those that a listener accepted.
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    options += [
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in KEEPALIVE.items()
        if hasattr(socket, name)  # not every system has them all
    ]
    with contextlib.suppress(OSError):  # of a connection that is gone already: whoever uses it next will notice
        for option in options:
            connected.setsockopt(*option)
