"""Replies that are not read: who leaves one lying ends the connection."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress

WRITE_S, LEAST_WRITTEN = 10.0, 10 * 1024
"""While something waits to be sent, the other end must take at least so many bytes in each such time."""

ACKNOWLEDGED = slice(120, 128)
"""Where Linux has ``tcpi_bytes_acked`` in its ``tcp_info``."""


class WriteWatch:
    """Watches the progress of one connection's writing, and aborts the connection when there is too little of it."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._taken = 0

    @property
    def is_waiting(self) -> bool:
        """Tell whether something waits to be sent."""
        return self._timer is not None

    def begin(self) -> None:
        """Something waits to be sent."""
        if self._timer is None:
            self._look_later()

    def end(self) -> None:
        """Nothing waits to be sent any more, or the connection has ended."""
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
        """Return a number that grows with each byte that the other end takes. What left this process for the system's
        buffer counts as well: where the system does not tell what was acknowledged, there is nothing else to see."""
        return _acknowledged(self._transport) - self._transport.get_write_buffer_size()


def _acknowledged(transport: asyncio.Transport) -> int:
    """Return how many bytes the other end's system has acknowledged; 0 where this one does not tell."""
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_INFO", None)
    if connection is not None and option is not None:
        with suppress(OSError):
            return int.from_bytes(
                connection.getsockopt(socket.IPPROTO_TCP, option, ACKNOWLEDGED.stop)[ACKNOWLEDGED], sys.byteorder
            )
    return 0
