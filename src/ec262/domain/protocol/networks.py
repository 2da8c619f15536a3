"""Which customer an IP address belongs to. In IPv6, one customer has a whole network."""

from __future__ import annotations

import ipaddress

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

IPV6_BITS = 64
"""The part of an IPv6 address that its owner cannot choose."""


def ip_address(text: str) -> IpAddress | None:
    """Return an IP address, or None if the text is not one. An IPv4 address mapped into IPv6 is returned as IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def customer(host: str) -> str:
    """Return what counts as one customer: an IPv4 address, the /64 of an IPv6 address, or the host itself if it is
    neither."""
    address = ip_address(host)
    if address is None:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address), IPV6_BITS), strict=False))


def address_block(host: str, source: str) -> str:
    """Return the block of addresses that is likely one network: /24 of IPv4, /48 of IPv6.

    That of ``host``, or of the address that the request came from where the host is a name: whoever has a domain makes
    names as many as they like. A source that is no address is a block itself.
    """
    address = ip_address(host) or ip_address(source)
    if address is None:
        return source.lower()
    bits = 24 if address.version == 4 else 48  # noqa: PLR2004 - the two versions of IP
    return str(ipaddress.ip_network((int(address), bits), strict=False))
