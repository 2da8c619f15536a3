"""IP addresses, each with one spelling, since the address identifies a client."""

from __future__ import annotations

import attrs

from ec262.domain.errors import InvalidRequest
from ec262.domain.legacy_2012.constants_2012 import MAX_PORT
from ec262.domain.legacy_2012.numbers_2012 import plain_decimal
from ec262.domain.protocol.networks import ip_address

MAX_ADDR_CHARS = 64
"""Enough for an IPv6 address with the name of an interface."""


@attrs.frozen(kw_only=True)
class Endpoint2012:
    """Where a worker listens."""

    addr: str
    port: int

    def __str__(self) -> str:
        """Return the form that foremen receive: ``127.0.0.2:26262`` or ``[::1]:26262``."""
        return f"[{self.addr}]:{self.port}" if ":" in self.addr else f"{self.addr}:{self.port}"


def canonical_addr(host: str) -> str:
    """Return the canonical spelling of an address. An IPv4 address mapped into IPv6 is returned as IPv4.

    Raises InvalidRequest if it is not an address.
    """
    addr = _parsed(host)
    if addr is None:
        raise InvalidRequest(f"{host[:MAX_ADDR_CHARS]!r} is not an IP address")
    return addr


def addr_in(text: str) -> str | None:
    """Return the address in ADDR or ADDR:PORT (IPv6 with or without brackets), or None if there is none.

    The port is ignored, since the address alone identifies a client.
    """
    host, _, port = text.rpartition(":")
    if host and (host.endswith("]") or ":" not in host):
        number = plain_decimal(port)
        if number is None or not 1 <= number <= MAX_PORT:
            return None
        text = host
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
        return _parsed(text) if ":" in text else None
    return _parsed(text)


def _parsed(host: str) -> str | None:
    if len(host) > MAX_ADDR_CHARS:
        return None
    address = ip_address(host)
    return None if address is None else str(address)
