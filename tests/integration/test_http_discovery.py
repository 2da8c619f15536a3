"""The HTTP client against servers that misbehave."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from ec262.adapters.discovery_client import http_discovery
from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
from ec262.domain.errors import ConfigurationError, DiscoveryRefused, DiscoveryUnavailable, InvalidRequest
from ec262.domain.protocol.foreman_calls import PoolQuery, VerdictQuery
from tests.discovery_town import REQUIREMENT, order

TOKEN = "token-" + "t" * 40
STATUS = {"account": "account-1", "credits": 12, "escrow": 0, "open_tasks": 0, "reports": 0, "frozen": False}


def reply(body: bytes | dict[str, object], status: str = "200 OK", headers: str = "") -> bytes:
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n{headers}\r\n"
    return head.encode() + content


def whole_request(connection: socket.socket) -> bytes:
    """Read a request with its body: to hang up on the rest of it would reset the connection."""
    request = connection.recv(65536)
    size = re.search(rb"Content-Length: (\d+)", request)
    while size and len(request.partition(b"\r\n\r\n")[2]) < int(size[1]):
        request += connection.recv(65536)
    return request


class Script:
    """A server that answers each connection with the next reply of its script, whatever is asked, and hangs up."""

    def __init__(self, replies: list[bytes], *, drip_s: float = 0.0) -> None:
        self.replies = replies
        self.requests: list[bytes] = []
        self._drip_s = drip_s
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    @contextmanager
    def running(self) -> Iterator[Script]:
        self._thread.start()
        try:
            yield self
        finally:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                self.requests.append(whole_request(connection))
                answer = self.replies.pop(0) if self.replies else b""
                if not self._drip_s:
                    connection.sendall(answer)
                for byte in answer if self._drip_s else b"":
                    connection.sendall(bytes([byte]))
                    time.sleep(self._drip_s)


@contextmanager
def client_of(*replies: bytes, patience_s: float = 0.0, drip_s: float = 0.0) -> Iterator[tuple[HttpDiscovery, Script]]:
    with Script(list(replies), drip_s=drip_s).running() as script:
        yield HttpDiscovery(script.url, token=TOKEN, patience_s=patience_s), script


async def test_a_call_carries_the_token_and_is_read() -> None:
    with client_of(reply(STATUS)) as (client, script):
        assert (await client.open_account()).credits == 12
    assert script.requests[0].startswith(b"POST /v1/account HTTP/1.1\r\n")
    assert f"Authorization: Bearer {TOKEN}\r\n".encode() in script.requests[0]


async def test_an_unreachable_service_is_reported_when_patience_ends() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))  # and does not listen: no other process can
        client = HttpDiscovery(f"http://127.0.0.1:{mute.getsockname()[1]}", token=TOKEN, patience_s=0.35)
        started = time.monotonic()
        with pytest.raises(DiscoveryUnavailable, match="no connection to discovery") as caught:
            await client.open_account()
    assert 0.15 <= time.monotonic() - started < 2
    assert TOKEN not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_failures_of_the_service_and_broken_replies_are_tried_again() -> None:
    broken = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"
    unavailable = reply({"error": "unavailable", "message": "busy"}, "503 Service Unavailable")
    with client_of(unavailable, broken, b"", reply(STATUS), patience_s=10) as (client, script):
        assert (await client.open_account()).credits == 12
    assert len(script.requests) == 4


async def test_a_long_wait_for_the_service_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_discovery, "SILENT_S", 0.0)
    with client_of(b"", b"", reply(STATUS), patience_s=10) as (client, _script):
        assert (await client.open_account()).credits == 12
    assert len(re.findall(r"no connection to discovery at \S+; trying again for \d+ s", caplog.text)) == 1


async def test_clients_that_lose_the_service_at_the_same_moment_do_not_try_again_at_the_same_moments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", pause)
    for _ in range(8):
        with client_of(b"", b"", reply(STATUS), patience_s=10) as (client, _script):
            assert (await client.open_account()).credits == 12
    firsts, seconds = pauses[::2], pauses[1::2]
    assert len(set(firsts)) == len(set(seconds)) == 8
    assert all(0.05 <= pause_s <= 0.1 for pause_s in firsts)
    assert all(0.1 <= pause_s <= 0.2 for pause_s in seconds)


async def test_a_call_that_is_asked_to_wait_waits() -> None:
    busy = reply({"error": "too_many_requests", "message": "later"}, "429 Too Many Requests", "Retry-After: 1\r\n")
    with client_of(busy, reply(STATUS), patience_s=10) as (client, _):
        started = time.monotonic()
        assert (await client.open_account()).credits == 12
        assert time.monotonic() - started > 0.9


async def test_a_held_back_answer_keeps_nobody_from_ending() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = HttpDiscovery(f"http://127.0.0.1:{silent.getsockname()[1]}", token=TOKEN)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.verdicts(VerdictQuery(tasks=("t" * 32,), wait_s=30)), 0.1)
        assert time.monotonic() - started < 2
        assert all(thread.daemon for thread in threading.enumerate() if "attempt" in thread.name)


async def test_refusals_are_not_tried_again() -> None:
    with (
        client_of(reply({"error": "invalid_request", "message": "no"}, "400 Bad Request"), patience_s=10) as (
            client,
            script,
        ),
        pytest.raises(InvalidRequest, match=r"^no$"),
    ):
        await client.open_account()
    assert len(script.requests) == 1


async def test_texts_of_the_service_do_not_command_a_terminal() -> None:
    said, shown = "a\x1b[2J\x07b", "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b"
    replies = [
        reply({"error": "invalid_request", "message": said}, "400 Bad Request"),
        reply({"workers": 0, "slots": 0, "explanation": said}),
        reply({"purchase": "purchase-1", "tasks": [], "price": 0, "credits": 0, "shortfall": said}),
    ]
    with client_of(*replies) as (client, _):
        with pytest.raises(InvalidRequest) as caught:
            await client.open_account()
        assert str(caught.value) == shown
        assert (await client.pool(PoolQuery(requirement=REQUIREMENT))).explanation == shown
        assert (await client.buy(order())).shortfall == shown


async def test_a_refusal_of_a_newer_service_is_still_a_refusal() -> None:
    with (
        client_of(reply({"error": "news", "message": "x" * 5000}, "418 Teapot")) as (client, _),
        pytest.raises(DiscoveryRefused) as caught,
    ):
        await client.open_account()
    assert str(caught.value) == "x" * 1000


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"<html>"),
        reply(b"<html>", "404 Not Found"),
        reply({"account": 1}),
        reply(b"\xff\xfe"),
        reply(b"[" * 100_000),
        reply(b"", "302 Found", "Location: http://127.0.0.1:1/\r\n"),
        reply(b"", "204 No Content"),
    ],
)
async def test_a_server_that_is_not_discovery_is_reported_at_once(answer: bytes) -> None:
    with (
        client_of(answer, patience_s=10) as (client, script),
        pytest.raises(DiscoveryUnavailable, match="not an ec262 discovery service"),
    ):
        await client.open_account()
    assert len(script.requests) == 1


async def test_a_huge_reply_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_discovery, "MAX_REPLY_BYTES", 100_000)
    with (
        client_of(reply(b" " * 1_000_000), patience_s=10) as (client, _),
        pytest.raises(DiscoveryUnavailable, match="more than 100000 bytes"),
    ):
        await client.open_account()


async def test_a_dripping_reply_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_discovery, "REPLY_TIMEOUT_S", 0.1)
    headers = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with (
        client_of(headers + b"1\r\n \r\n" * 100, drip_s=0.005) as (client, _),
        pytest.raises(DiscoveryUnavailable, match="in time"),
    ):
        await client.open_account()


async def test_silence_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_discovery, "READ_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = HttpDiscovery(f"http://127.0.0.1:{silent.getsockname()[1]}", token=TOKEN, patience_s=0)
        with pytest.raises(DiscoveryUnavailable, match="in time"):
            await client.open_account()


async def test_no_proxy_and_no_netrc_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with client_of(reply(STATUS)) as (client, _):
        await client.open_account()


async def test_a_certificate_that_cannot_be_trusted_is_reported_at_once() -> None:
    with client_of(b"this is not TLS", patience_s=10) as (_, script):
        client = HttpDiscovery(script.url.replace("http:", "https:"), token=TOKEN, patience_s=10)
        with pytest.raises(DiscoveryUnavailable, match="no secure connection"):
            await client.open_account()


async def test_connections_are_kept_and_closed() -> None:
    with client_of(reply(STATUS), reply({"verdicts": []})) as (client, _):
        await client.open_account()
        (connection,) = client._idle
        await client.verdicts(VerdictQuery(tasks=()))
        assert list(client._idle) == [connection]
        await client.close()
        assert not client._idle


@pytest.mark.parametrize(
    "url",
    [
        *(
            "localhost:26262",
            "ftp://host",
            "http://",
            "http://host:99999",
            "http://[::1",
            "",
            "http://host:0",
            "//host",
        ),
        *("http://two words", "http://.host"),
    ],
)
def test_urls_that_cannot_be_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="URL"):
        HttpDiscovery(url, token=TOKEN)


@pytest.mark.parametrize(
    ("url", "sent"), [("http://ä.example/", "http://xn--4ca.example"), ("http://host/a b", "http://host/a%20b")]
)
def test_urls_are_escaped_once(url: str, sent: str) -> None:
    assert HttpDiscovery(url, token=TOKEN)._location == sent


@pytest.mark.parametrize("url", ["http://me:secret@host", "http://host/?q=secret", "http://host/#secret"])
def test_a_url_holds_no_secret(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must not have") as caught:
        HttpDiscovery(url, token=TOKEN)
    assert "secret" not in str(caught.value)


async def test_a_trailing_slash_makes_no_difference() -> None:
    with Script([reply(STATUS)]).running() as script:
        await HttpDiscovery(script.url + "/", token=TOKEN).open_account()
    assert script.requests[0].startswith(b"POST /v1/account ")


def test_missing_certificates_are_reported() -> None:
    with pytest.raises(ConfigurationError, match=r"no certificate file /nowhere\.pem"):
        HttpDiscovery("https://host", token=TOKEN, ca="/nowhere.pem")
