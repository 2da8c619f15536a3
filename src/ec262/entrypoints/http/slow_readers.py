"""Ends connections of clients that do not read their replies."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress

WRITE_S, LEAST_WRITTEN = 10.0, 10 * 1024
"""While data waits to be sent, the client must read at least this number of bytes per period."""

ACKNOWLEDGED = slice(120, 128)
"""Where Linux has ``tcpi_bytes_acked`` in its ``tcp_info``."""


class WriteWatch:
    """Watches the progress of writing to one connection, and aborts the connection if there is too little."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._taken = 0

    @property
    def is_waiting(self) -> bool:
        """Tell whether data waits to be sent."""
        return self._timer is not None

    def begin(self) -> None:
        """Begin to watch: data waits to be sent."""
        if self._timer is None:
            self._look_later()

    def end(self) -> None:
        """Stop watching: all data is sent, or the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        self._taken = self._taken_so_far()
        self._timer = self._loop.call_later(WRITE_S, self._look)

    def _look(self) -> None:
        if self._taken_so_far() - self._taken < LEAST_WRITTEN:
            self._transport.abort()
        else:
            self._look_later()

    def _taken_so_far(self) -> int:
        """Return a number that grows with each byte that the client reads. Bytes that moved from this process into the
        system's buffer count as well: if the system does not report acknowledgements, nothing else can be observed."""
        return _acknowledged(self._transport) - self._transport.get_write_buffer_size()


def _acknowledged(transport: asyncio.Transport) -> int:
    """Return how many bytes the client's system has acknowledged; 0 if this system does not report it."""
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_INFO", None)
    if connection is not None and option is not None:
        with suppress(OSError):
            return int.from_bytes(
                connection.getsockopt(socket.IPPROTO_TCP, option, ACKNOWLEDGED.stop)[ACKNOWLEDGED], sys.byteorder
            )
    return 0
