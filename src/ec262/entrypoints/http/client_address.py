"""Finds the address of a client, even behind proxies that the operator trusts."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.requests import Request

from ec262.domain.errors import InvalidRequest
from ec262.domain.protocol.networks import IpAddress, ip_address

UNREADABLE = "the proxy's X-Forwarded-For has an entry that is not an IP address: it must hold the client's address"


class ClientAddresses:
    """Returns the address from which a request was sent.

    ``X-Forwarded-For`` is trusted only as far as it was written by a proxy in one of the ``trusted`` networks: read
    from its end, the first address that is not such a proxy's is the client's. No other forwarding header is read. If
    the client's entry is not an address, the request is refused, because the client would pass for the proxy.
    """

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._trusted = [ipaddress.ip_network(network, strict=False) for network in trusted]

    def is_proxy(self, host: str) -> bool:
        """Tell whether a connection's address is that of a trusted proxy."""
        return self._is_trusted(ip_address(host))

    def __call__(self, request: Request) -> str:
        """Return the client's address; empty if the connection has none. Raises InvalidRequest if a trusted proxy
        forwarded anything other than an address."""
        host = request.client.host if request.client is not None else ""
        address = ip_address(host)
        if address is None:
            return host
        headers = request.headers.getlist("x-forwarded-for")
        forwarded = ",".join(headers).split(",") if headers else []
        while self._is_trusted(address) and forwarded:
            further = ip_address(_without_port(forwarded.pop().strip()))
            if further is None:
                raise InvalidRequest(UNREADABLE)
            address = further
        return str(address)

    def _is_trusted(self, address: IpAddress | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def _without_port(text: str) -> str:
    """Remove the port, which some proxies add: ``192.0.2.1:1234``, ``[2001:db8::1]:1234``."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
