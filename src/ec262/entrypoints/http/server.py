"""The HTTP server under the discovery service: connections and their limits, TLS, and a clean shutdown."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ec262.domain.errors import ConfigurationError
from ec262.domain.protocol.networks import customer
from ec262.entrypoints.http.slow_readers import WriteWatch

KEEP_ALIVE_S = 75
"""Longer than the pauses of a foreman or worker between its calls, so that these keep their connections."""

HEAD_S = 10.0
"""Time for a request's head to arrive, from its first byte or the start of the connection."""

GRACE_S, END_S = 4, 5.0
"""After a signal: how long requests may take to end, and when the process ends in any case."""

MAX_CONNECTIONS = 2000

BACKLOG = 512
"""Connections that may wait to be accepted; one turn of the event loop accepts all of them."""

_BUSY = b'{"error":"unavailable","message":"too many open connections"}'
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Retry-After: 5\r\nConnection: close\r\n\r\n%b"
) % (len(_BUSY), _BUSY)

_log = logging.getLogger(__name__)


class CountedConnection(Protocol):
    """A connection that was admitted."""

    def leave(self) -> None:
        """End, and release the place at once."""


class Connections:
    """Counts open connections: at most ``most``, and at most half of them from one address, unless it ``is_proxy``.
    ``waiting`` connections may wait to be accepted or refused. An IPv6 address counts as its /64.

    When all places are taken, a client with few connections gets a place from the client with the most.
    """

    def __init__(
        self,
        most: int = MAX_CONNECTIONS,
        is_proxy: Callable[[str], bool] = lambda _host: False,
        *,
        waiting: int = BACKLOG,
    ) -> None:
        self.waiting = min(waiting, BACKLOG)
        self._most = most
        self._is_proxy = is_proxy
        self._open: Counter[str] = Counter()
        self._given: defaultdict[str, dict[CountedConnection, None]] = defaultdict(dict)
        """The places of each customer; the first is the one that has been idle for longest."""

    def admit(self, host: str) -> bool:
        """Admit and count a connection, if there is room for it."""
        name = customer(host)
        full = self._open.total() >= self._most
        if full or (self._open[name] >= max(1, self._most // 2) and not self._is_proxy(host)):
            return False
        self._open[name] += 1
        return True

    def release(self, host: str) -> None:
        """Give up the place of a connection."""
        name = customer(host)
        self._open[name] -= 1
        if not self._open[name]:
            del self._open[name]

    def keep(self, host: str, guest: CountedConnection) -> None:
        """Record that an admitted connection is new, or has answered a request."""
        given = self._given[customer(host)]
        given.pop(guest, None)
        given[guest] = None

    def forget(self, host: str, guest: CountedConnection) -> None:
        """Forget a connection that has given up its place."""
        name = customer(host)
        self._given[name].pop(guest, None)
        if not self._given[name]:
            del self._given[name]

    def make_room(self, host: str) -> None:
        """If all places are taken, end a connection of the customer with the most, unless this one would then have as
        many. That is safe, because clients retry a call when its connection ends."""
        if self._open.total() < self._most:
            return
        crowd, size = self._open.most_common(1)[0]
        if size >= self._open[customer(host)] + 2 and self._given[crowd]:
            next(iter(self._given[crowd])).leave()


class GuardedProtocol(H11Protocol):
    """One connection. It ends if there are too many connections, if a request's head does not arrive in time, however
    steadily its bytes drip, or if a reply is not read."""

    guarded: ClassVar[Connections]

    _admitted: str | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _writing: WriteWatch

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # the base class narrows it, too
        """Take the connection, or refuse it."""
        super().connection_made(transport)
        self._writing = WriteWatch(transport, self.loop)
        # So that ``pause_writing`` is called when anything waits. At 0, asyncio's TLS pauses when nothing does.
        transport.set_write_buffer_limits(high=1, low=0)
        host = self.client[0] if self.client is not None else ""
        self.guarded.make_room(host)
        if self.guarded.admit(host):
            self._admitted = host
            self.guarded.keep(host, self)
            self._watch()
        else:
            transport.write(BUSY)
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Read data; ignore data on a connection that was refused or given up."""
        if not self.transport.is_closing():
            super().data_received(data)
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up the place."""
        super().connection_lost(exc)
        self._stop_watching()
        self._writing.end()
        self._count_out()

    def leave(self) -> None:
        """End, and give up the place at once to another connection."""
        self._count_out()
        self.transport.abort()

    def _count_out(self) -> None:
        if self._admitted is not None:
            self.guarded.release(self._admitted)
            self.guarded.forget(self._admitted, self)
            self._admitted = None

    def on_response_complete(self) -> None:
        """Continue with the next request, if there is one."""
        if self._admitted is not None:
            self.guarded.keep(self._admitted, self)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Data waits to be sent: watch whether the client reads it."""
        super().pause_writing()
        self._writing.begin()

    def resume_writing(self) -> None:
        """All data is sent."""
        super().resume_writing()
        self._writing.end()

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection; while a reply is still being read, the connection is not idle."""
        if self._writing.is_waiting:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            super().timeout_keep_alive_handler()

    def _watch(self) -> None:
        """Start the timer for the next head, unless a request is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self.transport.abort)

    def _stop_watching(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Server(uvicorn.Server):
    """A uvicorn server that ends within ``END_S`` of a signal, and at once after a second signal."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_stopping: Callable[[], None],
        on_started: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self._on_stopping = on_stopping
        self._on_started = on_started

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to shut down. Everything in the storage is durable, so nothing is lost with the process."""
        status = 128 + sig
        if self.should_exit:
            os._exit(status)
        # A thread that waits for the storage cannot be ended, and the interpreter would wait for it.
        last_resort = threading.Timer(END_S, os._exit, (status,))
        last_resort.daemon = True
        last_resort.start()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start like the base class, then announce it: from now on, requests are answered and signals are handled."""
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wake all long polls, then shut down like the base class."""
        self._on_stopping()
        await super().shutdown(sockets)


class TlsFiles:
    """A certificate with its chain, and its key, both PEM; if ``key`` is None, the first file holds both."""

    def __init__(self, certificate: str, key: str | None) -> None:
        """Raises ConfigurationError if they cannot be used. Warns about a key that others can read."""
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load()

    def reload(self) -> None:
        """Reload the files for new connections; if they have errors, log them and change nothing."""
        try:
            TlsFiles(self._certificate, self._key)
            self._load()
        except ConfigurationError as error:
            _log.error("keeping the old certificate: %s", error)
        else:
            _log.info("certificate reloaded")

    def _load(self) -> None:
        key = Path(self._key or self._certificate)
        try:
            self.context.load_cert_chain(self._certificate, self._key, password=_no_password)
            if key.stat().st_mode & 0o077:
                _log.warning("%s is a private key that other users can read: run chmod 600", key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "strerror", None) or error
            if self._key is None and isinstance(error, ssl.SSLError):
                reason = f"it must also contain the private key, or --tls-key must name the key ({reason})"
            files = " with the key ".join(filter(None, (self._certificate, self._key)))
            raise ConfigurationError(f"cannot use the TLS certificate {files}: {reason}") from error


def _no_password() -> str:
    """Keep OpenSSL from asking for a password at the terminal."""
    raise ValueError("its key is encrypted, which is not supported")


class Loop(asyncio.SelectorEventLoop):
    """Gives TLS handshakes the same time as the heads of requests."""

    async def create_server(self, *args: Any, ssl: ssl.SSLContext | None = None, **options: Any) -> asyncio.Server:  # type: ignore[override] # overloads whose rest is passed on
        if ssl is not None:
            options |= {"ssl_handshake_timeout": HEAD_S, "ssl_shutdown_timeout": GRACE_S}
        return await super().create_server(*args, ssl=ssl, **options)


def server_config(
    app: ASGIApp, *, tls: TlsFiles | None = None, connections: Connections | None = None
) -> uvicorn.Config:
    """Return uvicorn's configuration for an application."""
    connections = connections or Connections()
    config = uvicorn.Config(
        app,
        http=type("Protocol", (GuardedProtocol,), {"guarded": connections}),
        backlog=connections.waiting,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",  # with warnings, strangers that do not speak HTTP could fill the log
        access_log=False,
        proxy_headers=False,  # see client_address
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    config.load()
    config.ssl = None if tls is None else tls.context
    return config


def serve_on_socket(
    app: Starlette,
    listening: socket.socket,
    *,
    tls: TlsFiles | None = None,
    connections: Connections | None = None,
    on_started: Callable[[], None] = lambda: None,
) -> None:
    """Serve on a listening socket, which is taken over, until SIGTERM or Ctrl-C; then finish open requests and return.

    ``on_started`` is called once requests are answered, ``app.state.on_stopping`` in the event loop when the shutdown
    begins. SIGHUP reloads the certificate. Raises KeyboardInterrupt after Ctrl-C. Call it in the main thread of a
    process that ends soon after.
    """
    server = Server(server_config(app, tls=tls, connections=connections), app.state.on_stopping, on_started)
    # uvicorn shuts down on either signal, and then raises it again for the previous handler: ignore that SIGTERM.
    signal.signal(signal.SIGTERM, lambda _number, _frame: setattr(server, "should_exit", True))
    if tls is not None:
        signal.signal(signal.SIGHUP, lambda _number, _frame: tls.reload())
    # Recreated from its descriptor, the socket has TCP as its protocol; a socket from create_server has none. Only then
    # does asyncio set TCP_NODELAY, without which every reply waits 40 ms for the caller's delayed ACK.
    with socket.socket(fileno=listening.detach()) as known, asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(server.serve(sockets=[known]))
    if not server.started:
        raise ConfigurationError("the service could not start; see the log")
