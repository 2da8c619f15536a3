"""IP addresses, one spelling each: an address is who a client is."""

from __future__ import annotations

import attrs

from ec262.domain.errors import InvalidRequest
from ec262.domain.legacy_2012.constants_2012 import MAX_PORT
from ec262.domain.legacy_2012.numbers_2012 import plain_decimal
from ec262.domain.protocol.networks import ip_address

MAX_ADDR_CHARS = 64
"""Enough for IPv6 with the name of an interface."""


@attrs.frozen(kw_only=True)
class Endpoint:
    """Where a worker serves."""

    addr: str
    port: int

    def __str__(self) -> str:
        """Return it as foremen are told: ``127.0.0.2:26262`` or ``[::1]:26262``."""
        return f"[{self.addr}]:{self.port}" if ":" in self.addr else f"{self.addr}:{self.port}"


def canonical_addr(host: str) -> str:
    """Return the one spelling of an address; an IPv4 address mapped into IPv6 is that IPv4 address.

    Raises InvalidRequest if it is none.
    """
    addr = _parsed(host)
    if addr is None:
        raise InvalidRequest(f"{host[:MAX_ADDR_CHARS]!r} is no IP address")
    return addr


def addr_in(text: str) -> str | None:
    """Return the address in ADDR or ADDR:PORT, IPv6 with or without brackets; None if there is none.

    The port is not compared with anything: a client is its address.
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
