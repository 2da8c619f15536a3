"""Knocking at a worker's door: TLS, and the certificate's fingerprint."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ec262.adapters.tcp.tls import client_context, is_pinned
from ec262.domain.commands import WorkerAddress
from ec262.domain.errors import AddressUnreachable, DiscoveryUnavailable

TIMEOUT_S = 3.0
"""For name resolution, connection and handshake together."""

MAX_KNOCKS, MAX_KNOCKS_PER_SOURCE = 16, 8
"""Knocks under way at once: a stranger whose machine does not answer holds a thread for ``TIMEOUT_S``."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class TlsProber:
    """Connects, takes the certificate, and hangs up without a word. May be used by several threads."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._context = client_context()
        self._lock = threading.Lock()
        self._under_way: Counter[tuple[str, str]] = Counter()

    def probe(self, address: WorkerAddress, *, account: str, source: str) -> None:
        """Return if someone with the address's certificate answers. Raises AddressUnreachable, DiscoveryUnavailable.

        The text of AddressUnreachable is one for all reasons. The time that it takes is not: it tells a port that is
        closed from one that is silent. So nobody has discovery knock at its own machine or link, but who is there.
        """
        with self._place(account, source):
            try:
                certificate = self._certificate(address, source)
            except (OSError, ValueError) as error:
                raise _unreachable(address) from error
        if not is_pinned(certificate, address.fingerprint):
            raise _unreachable(address)

    @contextmanager
    def _place(self, account: str, source: str) -> Iterator[None]:
        """Hold one of the places for knocks. Who finds none is to come again: it does not wait in the way of others."""
        limits = {("all", ""): MAX_KNOCKS, ("source", source): MAX_KNOCKS_PER_SOURCE, ("account", account): 1}
        with self._lock:
            if any(self._under_way[name] >= limit for name, limit in limits.items()):
                raise DiscoveryUnavailable("too many registrations are being checked: try again in a few seconds")
            self._under_way.update(limits.keys())
        try:
            yield
        finally:
            with self._lock:
                self._under_way.subtract(limits.keys())
                self._under_way = +self._under_way

    def _certificate(self, address: WorkerAddress, source: str) -> bytes | None:
        deadline = time.monotonic() + self._timeout_s
        targets = [host for host in _resolved(address, self._timeout_s) if _may_knock(host, source)]
        with (
            _connected(targets, address.port, deadline) as connection,
            self._context.wrap_socket(connection) as encrypted,
        ):
            return encrypted.getpeercert(binary_form=True)


def _resolved(address: WorkerAddress, timeout_s: float) -> list[str]:
    """Return the IP addresses of a host. The resolver has no time-out: a thread that it holds longer is left behind."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            answers.put([str(sockaddr[0]) for *_, sockaddr in found])
        except (OSError, ValueError) as error:
            answers.put(error)

    threading.Thread(target=resolve, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty as error:
        raise TimeoutError from error
    if isinstance(answer, Exception):
        raise answer
    return answer


def _may_knock(target: str, source: str) -> bool:
    """Tell whether a request from ``source`` may have discovery connect to the IP address ``target``."""
    ip, asking = _ip(target), _ip(source)
    if ip is None:
        return False
    if ip == asking or (asking is not None and asking.is_loopback):
        return True
    return not (ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified)


def _ip(text: str) -> IpAddress | None:
    with suppress(ValueError):
        ip = ipaddress.ip_address(text)
        return getattr(ip, "ipv4_mapped", None) or ip
    return None


def _connected(targets: list[str], port: int, deadline: float) -> socket.socket:
    """Connect to the first of the targets that answers; what is left until the deadline is the socket's time-out."""
    failure = OSError("no address to knock at")
    for target in targets:
        try:
            connection = socket.create_connection((target, port), timeout=max(0.001, deadline - time.monotonic()))
        except OSError as error:
            failure = error
        else:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            return connection
    raise failure


LISTENS_ELSEWHERE = {
    4: " Does the worker listen on IPv6 only? Then start it without --listen.",
    6: " Does the worker listen on IPv4 only? Then start it with --listen ::, or without --listen.",
}


def _unreachable(address: WorkerAddress) -> AddressUnreachable:
    ip = _ip(address.host)
    return AddressUnreachable(
        f"nobody with the registered certificate answers at {address.host} port {address.port}: "
        "is it reachable from the discovery service, and is that the address to advertise?"
        + (LISTENS_ELSEWHERE[ip.version] if ip else "")
    )
