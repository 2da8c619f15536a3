from __future__ import annotations

import pytest

from ec262.domain.errors import InvalidRequest
from ec262.domain.legacy_2012.addresses_2012 import Endpoint2012, addr_in, canonical_addr


@pytest.mark.parametrize(
    ("host", "addr"),
    [
        ("127.0.0.2", "127.0.0.2"),
        ("::ffff:127.0.0.2", "127.0.0.2"),
        ("::FFFF:7f00:2", "127.0.0.2"),
        ("::1", "::1"),
        ("2001:DB8:0:0::01", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_an_address_has_one_spelling(host: str, addr: str) -> None:
    assert canonical_addr(host) == addr


@pytest.mark.parametrize(
    "host", ["", "localhost", "127.0.0.2:80", "[::1]", "1.2.3", "127.0.0.02", "fe80::1%" + "x" * 60]
)
def test_a_client_without_an_address_is_nobody(host: str) -> None:
    with pytest.raises(InvalidRequest, match="is not an IP address"):
        canonical_addr(host)


def test_endpoints_are_spelt_so_that_the_port_can_be_found() -> None:
    assert str(Endpoint2012(addr="127.0.0.2", port=26262)) == "127.0.0.2:26262"
    assert str(Endpoint2012(addr="::1", port=26262)) == "[::1]:26262"


@pytest.mark.parametrize(
    ("text", "addr"),
    [
        ("127.0.0.2", "127.0.0.2"),
        ("127.0.0.2:4321", "127.0.0.2"),
        ("::ffff:127.0.0.2", "127.0.0.2"),
        ("[::ffff:127.0.0.2]:80", "127.0.0.2"),
        ("::1", "::1"),
        ("0:0::1", "::1"),
        ("[::1]", "::1"),
        ("[::1]:65535", "::1"),
    ],
)
def test_an_address_is_found_with_and_without_a_port(text: str, addr: str) -> None:
    assert addr_in(text) == addr


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "::1]", "[::1", "[]:80", "[127.0.0.2]:80", "[::1]:", "[::1]:0x5", ":4321", "worker", "1" * 5000),
        *("127.0.0.2:", "127.0.0.2:0", "127.0.0.2:65536", "127.0.0.2:x", "127.0.0.2:80:80", " 127.0.0.2"),
        "127.0.0.2, 127.0.0.3",
    ],
)
def test_no_address_is_found_in_anything_else(text: str) -> None:
    assert addr_in(text) is None
