"""Whose address counts, behind which proxies."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from ec262.domain.errors import ConfigurationError, InvalidRequest
from ec262.entrypoints.http.client_address import ClientAddresses
from ec262.entrypoints.shared.settings import DiscoverySettings, load_settings

PROXY, INNER_PROXY, CLIENT, STRANGER = "10.0.0.1", "10.0.0.2", "198.51.100.7", "203.0.113.9"
BEHIND = ClientAddresses(["10.0.0.0/24", "2001:db8::1"])


def request(peer: str | None, *forwarded: str, **headers: str) -> Request:
    lines = [("x-forwarded-for", value) for value in forwarded]
    lines += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request(
        {
            "type": "http",
            "client": None if peer is None else (peer, 1234),
            "headers": [(name.encode(), value.encode()) for name, value in lines],
        }
    )


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        (STRANGER, [], STRANGER),
        (STRANGER, [CLIENT], STRANGER),
        (STRANGER, [f"{CLIENT}, {PROXY}"], STRANGER),
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [], PROXY),
        (PROXY, [f"127.0.0.1, {CLIENT}"], CLIENT),
        (PROXY, [f"127.0.0.1, {PROXY}, {CLIENT}"], CLIENT),
        (PROXY, ["127.0.0.1", CLIENT], CLIENT),
        (PROXY, [f"{CLIENT}, {INNER_PROXY}"], CLIENT),
        (PROXY, [f"{CLIENT}, {STRANGER}, {INNER_PROXY}"], STRANGER),
        (PROXY, [f"nonsense, {CLIENT}"], CLIENT),
        (PROXY, [f"{INNER_PROXY}, {PROXY}"], INNER_PROXY),
        (PROXY, [f"{CLIENT}:4711"], CLIENT),
        (PROXY, ["[2001:db8::7]:4711"], "2001:db8::7"),
        (PROXY, ["2001:db8::7"], "2001:db8::7"),
        ("2001:db8::1", [CLIENT], CLIENT),
        ("2001:db8::2", [CLIENT], "2001:db8::2"),
        (f"::ffff:{PROXY}", [f"::ffff:{CLIENT}"], CLIENT),
        (f"::ffff:{STRANGER}", [], STRANGER),
        ("testclient", [CLIENT], "testclient"),
        (None, [CLIENT], ""),
    ],
)
def test_the_address_that_counts(peer: str | None, forwarded: list[str], address: str) -> None:
    assert BEHIND(request(peer, *forwarded)) == address


@pytest.mark.parametrize(
    "forwarded",
    [
        [""],
        ["unknown"],
        ["<script>"],
        ["_hidden"],
        [f"{CLIENT}, "],
        [f"{CLIENT}, unknown"],
        [CLIENT, "unknown"],
        [f"{CLIENT}, nonsense, {INNER_PROXY}"],
        ["198.51.100.007"],
        ["198.51.100.7/32"],
    ],
)
def test_a_proxys_header_without_an_address_is_refused(forwarded: list[str]) -> None:
    """Otherwise its client would pass for the proxy, which no limit of one address is for."""
    with pytest.raises(InvalidRequest, match="X-Forwarded-For"):
        BEHIND(request(PROXY, *forwarded))


def test_a_strangers_forwarding_header_is_ignored() -> None:
    assert BEHIND(request(STRANGER, "unknown")) == STRANGER


@pytest.mark.parametrize("peer", [STRANGER, PROXY, "127.0.0.1"])
def test_without_trust_nothing_is_believed(peer: str) -> None:
    assert ClientAddresses()(request(peer, CLIENT)) == peer


def test_other_headers_are_never_read() -> None:
    headers = {"x_real_ip": CLIENT, "forwarded": f"for={CLIENT}", "x_forwarded_proto": "https", "x_client_ip": CLIENT}
    assert BEHIND(request(PROXY, **headers)) == PROXY


def test_a_long_list_is_read_from_its_end() -> None:
    assert BEHIND(request(PROXY, ",".join([STRANGER] * 4000 + [CLIENT] + [PROXY] * 3))) == CLIENT


def test_proxies_are_recognized_by_their_addresses() -> None:
    assert [BEHIND.is_proxy(host) for host in (PROXY, f"::ffff:{PROXY}", "2001:db8::1", STRANGER, "", "x")] == [
        *[True] * 3,
        *[False] * 3,
    ]


def test_an_invalid_network_is_reported() -> None:
    with pytest.raises(ConfigurationError, match=r"10\.0\.0\.0/99"):
        load_settings(DiscoverySettings, {"trusted_proxy": ["10.0.0.0/99"]}, {})
    with pytest.raises(ConfigurationError, match=r"proxy\.example"):
        load_settings(DiscoverySettings, {}, {"EC262_TRUSTED_PROXY": "proxy.example"})
