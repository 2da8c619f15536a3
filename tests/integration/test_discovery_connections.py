"""Connections to the discovery service that do not behave, over raw sockets, and its end."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ec262.entrypoints.discovery.discovery_api import discovery_app
from ec262.entrypoints.http import server as discovery_server
from ec262.entrypoints.http import slow_readers
from ec262.entrypoints.http.server import Connections, Loop, Server, server_config
from tests.discovery_process import RunningDiscovery, running_discovery
from tests.discovery_town import FOREMAN, build_town
from tests.waits import wait_until

HEAD_S = 0.4
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
TOKEN = "somebody-" + "s" * 40


async def answer(_request: Request) -> Response:
    return PlainTextResponse({"/large": "x" * 5_000_000, "/medium": "x" * 50_000}.get(_request.url.path, "here"))


async def read_nothing(_request: Request) -> Response:
    return PlainTextResponse("not read")


APP = Starlette(
    routes=[
        *(Route(path, answer) for path in ("/", "/medium", "/large")),
        Route("/upload", read_nothing, methods=["POST"]),
    ]
)


APP.state.on_stopping = lambda: None


@contextmanager
def serving(connections: Connections | None = None, app: Starlette = APP) -> Iterator[int]:
    """Serve in a thread; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        server = Server(server_config(app, connections=connections), app.state.on_stopping)

        def run() -> None:
            with asyncio.Runner(loop_factory=Loop) as runner:
                runner.run(server.serve(sockets=[listening]))

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that waits for heads only shortly."""
    monkeypatch.setattr(discovery_server, "HEAD_S", HEAD_S)
    with serving() as port:
        yield port


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield connection


def reply_on(connection: socket.socket, until: bytes = b"here") -> bytes:
    """Read one small reply."""
    received = b""
    while until not in received and (more := connection.recv(4096)):
        received += more
    return received


def life_of(connection: socket.socket) -> float:
    """Wait until the other end hangs up; return how long that took."""
    started = time.monotonic()
    with suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return time.monotonic() - started


# --- heads ----------------------------------------------------------------------------------------------------------


def test_a_connection_that_says_nothing_ends(port: int) -> None:
    with connected(port) as connection:
        assert HEAD_S * 0.8 < life_of(connection) < HEAD_S + 3


def test_a_head_that_drips_ends_in_the_same_time(port: int) -> None:
    with connected(port) as connection:
        started = time.monotonic()
        with suppress(ConnectionResetError, BrokenPipeError):
            for byte in b"GET / HTTP/1.1\r\nX-Slow: " + b"x" * 500:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert HEAD_S * 0.8 < time.monotonic() - started < HEAD_S + 3


def test_a_second_head_that_drips_ends_too(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(REQUEST)
        assert reply_on(connection).endswith(b"here")
        connection.sendall(b"GET / HT")
        assert life_of(connection) < HEAD_S + 3


def test_a_connection_between_two_requests_may_wait(port: int) -> None:
    with connected(port) as connection:
        for _ in range(2):
            connection.sendall(REQUEST)
            assert reply_on(connection).endswith(b"here")
            time.sleep(2 * HEAD_S)
        connection.sendall(REQUEST)
        assert reply_on(connection).endswith(b"here")


def test_pipelined_requests_are_all_answered(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(REQUEST * 3 + b"GET / HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n")
        received = b""
        while more := connection.recv(65536):
            received += more
    assert received.count(b"here") == 4


def test_a_body_that_nobody_reads_and_that_drips_ends(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        assert reply_on(connection, b"not read").startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"x")
        assert life_of(connection) < HEAD_S + 3


def test_a_connection_that_is_not_http_ends_and_logs_no_error(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with connected(port) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert life_of(connection) < HEAD_S
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/account HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: x\r\ntransfer-encoding: CHUNKED\r\ncontent-length: 0\r\n\r\n",
        b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 50\r\n\r\n",
        b"POST /v1/account HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_request_whose_end_is_ambiguous_is_refused_and_nothing_after_it_is_read(head: bytes) -> None:
    town = build_town()
    with serving(app=discovery_app(town.service, town.bell)) as port, connected(port) as connection:
        connection.sendall(head + b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        with suppress(ConnectionResetError):
            while more := connection.recv(65536):
                received += more
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"where the request ends is ambiguous" in received
    assert received.count(b"HTTP/1.1 ") == 1


def test_a_reply_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_server, "KEEP_ALIVE_S", 0.3)
    monkeypatch.setattr(slow_readers, "WRITE_S", 0.3)
    connections = Connections()
    with serving(connections) as port, connected(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: connections._open.total() == 1)
        wait_until(lambda: connections._open.total() == 0)


@pytest.mark.parametrize("path", [b"/large", b"/medium"])
def test_pipelined_replies_that_nobody_reads_are_given_up(path: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a connection may be idle, and whatever more is asked on it."""
    monkeypatch.setattr(slow_readers, "WRITE_S", 0.5)
    connections = Connections()
    with serving(connections) as port, connected(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def ask_for_ever() -> None:
            with suppress(OSError):
                while True:
                    connection.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path * 500)

        asking = threading.Thread(target=ask_for_ever)
        asking.start()
        try:
            wait_until(lambda: connections._open.total() == 1)
            wait_until(lambda: connections._open.total() == 0)
        finally:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            asking.join()


def test_a_reply_that_is_read_slowly_is_sent_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a connection may be idle, and than any one look at the progress."""
    monkeypatch.setattr(discovery_server, "KEEP_ALIVE_S", 0.3)
    monkeypatch.setattr(slow_readers, "WRITE_S", 0.5)
    received = 0
    with serving() as port, connected(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        started = time.monotonic()
        while received < 5_000_000 and (more := connection.recv(20_000)):
            received += len(more)
            if time.monotonic() - started < 3:
                time.sleep(0.02)
    assert received >= 5_000_000


def test_a_client_that_reads_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_readers, "WRITE_S", 0.5)
    connections = Connections()
    with serving(connections) as port, connected(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        wait_until(lambda: connections._open.total() == 1)

        def is_given_up() -> bool:
            with suppress(ConnectionError):
                connection.recv(50)
            return connections._open.total() == 0

        wait_until(is_given_up)


# --- how many -------------------------------------------------------------------------------------------------------


def test_excess_connections_are_refused_and_room_returns_when_others_close() -> None:
    connections = Connections(4, lambda host: host == "127.0.0.1")
    with serving(connections) as port:
        for _ in range(3):
            crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
            wait_until(lambda: connections._open.total() == 4)
            with connected(port) as one_more:
                head, _, body = one_more.recv(4096).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 503 ")
                assert f"Content-Length: {len(body)}".encode() in head
                assert json.loads(body)["error"] == "unavailable"
                assert one_more.recv(1) == b""
            crowd[0].sendall(REQUEST)
            assert reply_on(crowd[0]).endswith(b"here")
            for connection in crowd:
                connection.close()
            wait_until(lambda: connections._open.total() == 0)


def test_one_address_has_half_of_them() -> None:
    connections = Connections(4)
    assert [connections.admit("a") for _ in range(3)] == [True, True, False]
    assert [connections.admit("b") for _ in range(3)] == [True, True, False]
    connections.release("a")
    assert connections.admit("c")
    assert not connections.admit("d")


def test_one_ipv6_network_has_half_of_them() -> None:
    connections = Connections(4)
    assert [connections.admit(f"2001:db8::{number}") for number in range(3)] == [True, True, False]
    assert [connections.admit(f"::ffff:192.0.2.{number}") for number in (1, 2)] == [True, True]
    connections.release("2001:db8::7")
    assert connections.admit("2001:db8:0:1::1")


@pytest.mark.parametrize(
    "said", [b"", b"GET / HT", REQUEST, b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"]
)
def test_two_addresses_that_hold_all_connections_make_room_for_a_third(said: bytes) -> None:
    connections = Connections(8)
    with serving(connections) as port, ExitStack() as held:
        for host in ("127.0.0.2", "127.0.0.3"):
            for _ in range(4):
                crowd = held.enter_context(socket.create_connection(("127.0.0.1", port), 10, (host, 0)))
                crowd.sendall(said)
        wait_until(lambda: connections._open.total() == 8)
        thirds = []
        for _ in range(2):
            third = held.enter_context(connected(port))
            third.sendall(REQUEST)
            assert reply_on(third).endswith(b"here")
            thirds.append(third)
        assert connections._open == {"127.0.0.2": 3, "127.0.0.3": 3, "127.0.0.1": 2}
        for third in thirds:
            third.sendall(REQUEST)
            assert reply_on(third).endswith(b"here")
    assert connections._given == {}


def test_one_connection_is_always_possible() -> None:
    assert Connections(1).admit("a")


# --- the end --------------------------------------------------------------------------------------------------------


def head(method: str, path: str, body: bytes = b"", token: str = TOKEN) -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def test_silent_connections_do_not_keep_it_from_ending(tmp_path: Path) -> None:
    with running_discovery(tmp_path) as running, ExitStack() as open_ones:
        _, half, idle = (open_ones.enter_context(connected(running.port)) for _ in range(3))
        half.sendall(b"POST /v1/account HTTP/1.1\r\n")
        idle.sendall(head("POST", "/v1/account"))
        assert idle.recv(4096).startswith(b"HTTP/1.1 200 ")
        started = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0
        assert time.monotonic() - started < 3
    assert running.log() == ""


def test_an_answer_that_is_held_back_comes_at_the_end() -> None:
    town = build_town(workers=3)
    query = json.dumps({"tasks": [town.buy_one().task], "wait_s": 50}).encode()
    with ExitStack() as later:
        with serving(app=discovery_app(town.service, town.bell)) as port:
            connection = later.enter_context(connected(port))
            connection.sendall(head("POST", "/v1/verdicts", query, FOREMAN))
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(4096)
            started = time.monotonic()
        assert time.monotonic() - started < 3
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


@contextmanager
def stuck(running: RunningDiscovery) -> Iterator[None]:
    """Have a request under way that waits for the database."""
    database = running.folder / "discovery.sqlite"
    with closing(sqlite3.connect(database, isolation_level=None)) as other, connected(running.port) as hung:
        other.execute("BEGIN IMMEDIATE")
        hung.sendall(head("POST", "/v1/account"))
        with connected(running.port) as later:  # when this has its answer, the other is under way
            later.sendall(head("GET", "/nowhere"))  # without the database
            assert later.recv(4096).startswith(b"HTTP/1.1 404 ")
        yield


def test_stuck_requests_are_aborted_at_the_end_and_no_new_ones_served(tmp_path: Path) -> None:
    assert discovery_server.END_S == 5
    script = (
        "import sys; from ec262.entrypoints.discovery import __main__ as discovery;"
        "from ec262.entrypoints.http import server as discovery_server;"
        "discovery_server.END_S = 1.5; sys.exit(discovery.main(sys.argv[1:]))"
    )
    with running_discovery(tmp_path, first=("-c", script)) as running, stuck(running):
        started = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", running.port), timeout=5)
        assert running.process.wait(10) == 128 + signal.SIGTERM
        assert 1.4 < time.monotonic() - started < 3.5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with running_discovery(tmp_path) as running, stuck(running):
        running.process.send_signal(number)
        time.sleep(0.5)
        assert running.process.poll() is None
        started = time.monotonic()
        running.process.send_signal(number)
        assert running.process.wait(10) == 128 + number
        assert time.monotonic() - started < 1


def test_fewer_open_files_than_connections_are_reported(tmp_path: Path) -> None:
    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (150, 150)); "
    service = "runpy.run_module('ec262.entrypoints.discovery', run_name='__main__')"
    with running_discovery(tmp_path, "--max-connections", "70", first=("-c", limited + service)) as running:
        assert "--max-connections 70 is lowered to 40: the limit on open files is 150" in running.log()


def test_it_can_be_stopped_cleanly_as_soon_as_it_says_that_it_listens(tmp_path: Path) -> None:
    for _ in range(3):
        with running_discovery(tmp_path) as running:
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(10) == 0
