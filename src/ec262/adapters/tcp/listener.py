"""The worker's side: accept, shake hands, hand over."""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import os
import socket
from collections import Counter
from collections.abc import Sequence

import attrs

from ec262.adapters.tcp.certificate import Identity, make_identity
from ec262.adapters.tcp.connection import READ_BUFFER_BYTES, TcpConnection
from ec262.domain.errors import ConfigurationError, PeerError
from ec262.domain.ports.transport import Handler
from ec262.domain.protocol.networks import address_block

logger = logging.getLogger(__name__)

ANY_IPV4 = "0.0.0.0"  # noqa: S104 - a worker is there to be reached; TLS and secrets guard it
IPV4_MAPPED = "::ffff:"
"""Begins the addresses of IPv4 as a socket of both families has them (RFC 4291, 2.5.5.2)."""

ACCEPT_PAUSE_S = 0.2
"""After the system refused to accept (out of descriptors, mostly)."""


@attrs.frozen(kw_only=True)
class TcpEndpoint:
    """Where a listener listens."""

    port: int
    fingerprint: str


@attrs.define(eq=False)
class _Guest:
    """A connection that was accepted; ``connection`` is None until the handshake is done."""

    host: str
    block: str
    socket: socket.socket
    connection: TcpConnection | None = None

    @property
    def proven(self) -> bool:
        return self.connection is not None and self.connection.proven


class TcpListener:
    """Listens on ``host`` and ``port`` (0: any free one) with a certificate that it makes itself. ``host`` None means
    all addresses of this machine, of IPv6 and IPv4 as far as it has them.

    At most ``max_connections`` are open at a time, handshakes included, ``max_per_host`` of them from one address, or
    from one /48 of IPv6. To make room for a further one, the oldest is closed of the connections that have proved
    nothing, in the address block that has most of those. If all are proven, the new one is closed. A handshake takes at
    most ``handshake_s``.
    """

    def __init__(
        self,
        host: str | None,
        port: int,
        *,
        max_connections: int = 256,
        max_per_host: int = 64,
        handshake_s: float = 10.0,
    ) -> None:
        self._host = host
        self._port = port
        self._max_connections = max_connections
        self._max_per_host = max_per_host
        self._handshake_s = handshake_s
        self._guests: dict[asyncio.Task[None], _Guest] = {}  # the oldest first
        self._tasks: set[asyncio.Task[None]] = set()  # also of those that were sent away and have not ended
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    async def start(self, handler: Handler) -> TcpEndpoint:
        """Begin to listen. Raises ConfigurationError if the port cannot be had."""
        self._socket = listening = _bind(self._host, self._port)
        identity = make_identity()
        self._accepting = asyncio.create_task(self._accept(listening, identity, handler))
        return TcpEndpoint(port=listening.getsockname()[1], fingerprint=identity.fingerprint)

    async def close(self) -> None:
        """Stop listening, cancel the handlers and close every connection. May be called twice."""
        accepting = [self._accepting] if self._accepting is not None else []
        for task in (*accepting, *self._tasks):
            task.cancel()
        await asyncio.gather(*accepting, *self._tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()

    async def _accept(self, listening: socket.socket, identity: Identity, handler: Handler) -> None:
        # Not asyncio.start_server: it tells of a connection only after the handshake, too late to count it.
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                logger.warning("cannot accept connections: %s", error)
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            host = address[0].removeprefix(IPV4_MAPPED)
            guest = _Guest(host=host, block=address_block(host, host), socket=accepted)
            if not self._make_room(guest):
                logger.debug("too many connections: %s is disconnected", host)
                accepted.close()
                continue
            task = asyncio.create_task(self._serve(guest, f"{host}:{address[1]}", identity, handler))
            self._tasks.add(task)
            self._guests[task] = guest
            task.add_done_callback(functools.partial(self._forget, accepted))

    def _forget(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        accepted.close()  # for a task that was cancelled before it began; else it is closed already
        self._tasks.discard(task)
        self._guests.pop(task, None)

    def _make_room(self, newcomer: _Guest) -> bool:
        """Send a connection away if there is no room for another one; tell whether there is room now."""
        neighbours = [task for task, guest in self._guests.items() if _place(guest) == _place(newcomer)]
        if len(neighbours) >= self._max_per_host:
            return self._send_oldest_away(neighbours)
        return len(self._guests) < self._max_connections or self._send_oldest_away(list(self._guests))

    def _send_oldest_away(self, tasks: Sequence[asyncio.Task[None]]) -> bool:
        strangers = [task for task in tasks if not self._guests[task].proven]
        if not strangers:
            return False
        [(fullest, _)] = Counter(self._guests[task].block for task in strangers).most_common(1)
        oldest = next(task for task in strangers if self._guests[task].block == fullest)
        guest = self._guests.pop(oldest)
        logger.debug("too many connections: %s, which has not proven itself, is disconnected", guest.host)
        if guest.connection is not None:
            guest.connection.abort()
        oldest.cancel()
        return True

    async def _serve(self, guest: _Guest, peer: str, identity: Identity, handler: Handler) -> None:
        try:
            connection = guest.connection = await self._shake_hands(guest.socket, peer, identity)
        except OSError as error:  # of which ssl.SSLError and TimeoutError are kinds
            logger.debug("%s: no handshake: %s", peer, error)
            return
        try:
            await handler(connection)
        except PeerError as error:
            logger.debug("%s: %s", peer, error)
        except Exception:
            logger.exception("%s: the handler failed", peer)
        finally:
            await connection.close()

    async def _shake_hands(self, accepted: socket.socket, peer: str, identity: Identity) -> TcpConnection:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BUFFER_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            accepted,
            ssl=identity.context,
            ssl_handshake_timeout=self._handshake_s,
        )
        return TcpConnection(reader, asyncio.StreamWriter(transport, protocol, reader, loop), peer)


def _place(guest: _Guest) -> str:
    """Return what connections are counted by: whoever has an address of IPv6 has very many."""
    return guest.block if ":" in guest.host else guest.host


def _bind(host: str | None, port: int) -> socket.socket:
    if host is None and socket.has_dualstack_ipv6():
        try:
            return _listening("::", port, dualstack=True)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _cannot_listen(host, port, error) from error
            logger.debug("no IPv6 here: %s", error)
    try:
        return _listening(host or ANY_IPV4, port, dualstack=False)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error


def _listening(host: str, port: int, *, dualstack: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=dualstack)
    listening.settimeout(0)
    return listening


def _cannot_listen(host: str | None, port: int, error: OSError) -> ConfigurationError:
    # create_server makes its own long text of the system's reason.
    reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
    where = f"on {host} " if host else "on "
    return ConfigurationError(f"cannot listen {where}port {port} ({reason}): choose another port with -P")
