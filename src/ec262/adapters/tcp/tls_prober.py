"""Knocking at a worker's door: TLS, and the certificate's fingerprint."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence

from ec262.adapters.tcp.knocks import Knocks
from ec262.adapters.tcp.tls import client_context, is_pinned
from ec262.domain.errors import AddressUnreachable
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.networks import IpAddress, ip_address

TIMEOUT_S = 3.0
"""For name resolution, connection and handshake together."""

UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is assigned to global unicast: what is outside of it is local, or stands for an IPv4 address."""

TRANSLATED = (ipaddress.IPv6Network("2001::/32"), ipaddress.IPv6Network("2002::/16"))
"""Teredo and 6to4 within it: these addresses stand for IPv4 addresses, which may be private."""


class TlsProber:
    """Connects, takes the certificate, and hangs up without a word. May be used by several threads.

    It connects to global addresses, and to those in ``networks``, which the operator allows: otherwise strangers could
    have it knock at the machines of the operator's own network.
    """

    def __init__(
        self,
        *,
        timeout_s: float = TIMEOUT_S,
        networks: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._context = client_context()
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]
        self._knocks = Knocks(clock)

    def probe(self, address: WorkerAddress, *, account: str, source: str) -> None:
        """Return if someone with the address's certificate answers. Raises AddressUnreachable, DiscoveryUnavailable.

        The text of AddressUnreachable is one for all reasons. The time that it takes is not: it tells a port that is
        closed from one that is silent. So nobody has discovery knock at its own machine or network, but who is there.
        """
        with self._knocks.place(account, source):
            try:
                certificate = self._certificate(address, source)
            except (OSError, ValueError) as error:
                raise _unreachable(address) from error
            if not is_pinned(certificate, address.fingerprint):
                raise _unreachable(address)

    def _certificate(self, address: WorkerAddress, source: str) -> bytes | None:
        deadline = time.monotonic() + self._timeout_s
        targets = [host for host in _resolved(address, self._timeout_s) if self._may_knock(host, source)]
        with (
            _connected(targets, address.port, deadline) as connection,
            self._context.wrap_socket(connection) as encrypted,
        ):
            return encrypted.getpeercert(binary_form=True)

    def _may_knock(self, target: str, source: str) -> bool:
        """Tell whether a request from ``source`` may have discovery connect to the IP address ``target``."""
        ip, asking = ip_address(target), ip_address(source)
        if ip is None:
            return False
        if ip == asking or (asking is not None and asking.is_loopback):
            return True
        return _is_global(ip) or any(ip in network for network in self._networks)


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


def _is_global(ip: IpAddress) -> bool:
    """Tell whether an address is anybody's: not private, shared or reserved, and not translated into another."""
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        return False
    return ip.version == 4 or (ip in UNICAST and not any(ip in network for network in TRANSLATED))  # noqa: PLR2004 - the two versions of IP


def _connected(targets: list[str], port: int, deadline: float) -> socket.socket:
    """Connect to the first of the targets that answers; what is left until the deadline is the socket's time-out."""
    failure = OSError("no address to check")
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
    ip = ip_address(address.host)
    return AddressUnreachable(
        f"nobody with the registered certificate answers at {address.host} port {address.port}: "
        "is it reachable from the discovery service, and is that the address to advertise?"
        + (LISTENS_ELSEWHERE[ip.version] if ip else "")
    )
