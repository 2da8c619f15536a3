"""A slow link: relays TCP connections at a limited rate, in threads of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import attrs

SHARES_PER_S = 20
"""How often each direction may pass on its share of the rate."""

BUFFER_BYTES = 16 << 10
"""What the kernel may take in at once: what is buffered has not crossed the link, and its sender thinks it has."""


@attrs.define
class SlowProxy:
    """Relays connections to ``there`` at ``bytes_per_s`` in each direction of each of them."""

    there: tuple[str, int]
    bytes_per_s: float
    relayed_bytes: int = 0
    _open: list[socket.socket] = attrs.Factory(list)
    _threads: list[threading.Thread] = attrs.Factory(list)

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until the listener is shut down."""
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                self._open.append(near)
                far = socket.create_connection(self.there, timeout=10)
                far.settimeout(None)
                self._open.append(far)
                for source, target in ((near, far), (far, near)):
                    self.start(self._relay, source, target)

    def start(self, work: Callable[..., None], *arguments: object) -> None:
        """Do some work in a thread, for which ``close`` waits."""
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def close(self, listener: socket.socket) -> None:
        """End every connection, and all threads."""
        for end in (listener, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._open:
            end.close()

    def _relay(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(max(1, int(self.bytes_per_s / SHARES_PER_S))):
                time.sleep(len(data) / self.bytes_per_s)
                target.sendall(data)
                self.relayed_bytes += len(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def slow_proxy(*, host: str, port: int, bytes_per_s: float) -> Iterator[SlowProxy]:
    """Have a slow link from ``host:port`` to the same port of 127.0.0.1; nobody need listen there yet."""
    proxy = SlowProxy(("127.0.0.1", port), bytes_per_s)
    with socket.create_server((host, port)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        proxy.start(proxy.serve, listener)
        try:
            yield proxy
        finally:
            proxy.close(listener)


def free_port(*hosts: str) -> int:
    """Return a port that is free on all of these addresses of this machine."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.create_server((hosts[0], 0)))
            port: int = first.getsockname()[1]
            try:
                for host in hosts[1:]:
                    stack.enter_context(socket.create_server((host, port)))
            except OSError:
                continue
            return port
