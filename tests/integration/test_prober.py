"""Knocking at real doors."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from ec262.adapters.memory.clock import ManualClock
from ec262.adapters.tcp.certificate import make_identity
from ec262.adapters.tcp.knocks import MAX_KNOCKS, MAX_KNOCKS_PER_SOURCE, MAX_WAIT_S, Knocks
from ec262.adapters.tcp.tls_prober import TlsProber
from ec262.domain.errors import AddressUnreachable, DiscoveryUnavailable
from ec262.domain.protocol.address import WorkerAddress

IDENTITY = make_identity()


@contextmanager
def door(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen for one caller; yield the port."""

    def serve() -> None:
        with suppress(OSError):
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def address(port: int, fingerprint: str = IDENTITY.fingerprint) -> WorkerAddress:
    return WorkerAddress(host="127.0.0.1", port=port, fingerprint=fingerprint)


def knock(at: WorkerAddress, *, source: str = "127.0.0.1", by: TlsProber | None = None) -> None:
    (by or TlsProber()).probe(at, account="worker-1", source=source)


def greet(connection: socket.socket) -> None:
    IDENTITY.context.wrap_socket(connection, server_side=True).close()


def test_a_worker_with_the_certificate_is_believed() -> None:
    with door(greet) as port:
        knock(address(port))


def test_somebody_else_is_not() -> None:
    with door(greet) as port, pytest.raises(AddressUnreachable, match=f"port {port}"):
        knock(address(port, "00" * 32))


def test_something_else_is_not() -> None:
    def speak_http(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with door(speak_http) as port, pytest.raises(AddressUnreachable):
        knock(address(port))


def test_nobody_is_not() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))  # and does not listen: no other process can
        with pytest.raises(AddressUnreachable, match="is that the address to advertise"):
            knock(address(mute.getsockname()[1]))


@pytest.mark.parametrize(
    ("host", "hint"),
    [
        ("192.0.2.1", "on IPv6 only? Then start it without --listen."),
        ("2001:db8::1", "on IPv4 only? Then start it with --listen ::, or without --listen."),
        ("worker.example", "is that the address to advertise?"),
    ],
)
def test_a_worker_that_does_not_answer_may_listen_on_the_other_address_family(
    host: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections(monkeypatch, "8.8.4.4")
    with pytest.raises(AddressUnreachable) as caught:
        knock(WorkerAddress(host=host, port=1, fingerprint=IDENTITY.fingerprint))
    assert str(caught.value).endswith(hint)


def test_a_name_that_does_not_exist_is_not() -> None:
    with pytest.raises(AddressUnreachable):
        knock(WorkerAddress(host="..", port=1, fingerprint=IDENTITY.fingerprint))


def test_silence_is_not_waited_out() -> None:
    started = time.monotonic()

    def stay_silent(connection: socket.socket) -> None:
        while connection.recv(1024):
            pass

    with door(stay_silent) as port, pytest.raises(AddressUnreachable):
        knock(address(port), by=TlsProber(timeout_s=0.2))
    assert time.monotonic() - started < 2


def test_all_reasons_read_alike() -> None:
    """Whoever registers an address learns whether it has the worker's certificate, and nothing else about it."""
    texts = set()
    for answer in (greet, lambda connection: connection.sendall(b"ssh")):
        with door(answer) as port, pytest.raises(AddressUnreachable) as caught:
            knock(address(port, "00" * 32))
        texts.add(str(caught.value).replace(str(port), "PORT"))
    assert len(texts) == 1


# --- whom discovery knocks at for a stranger ------------------------------------------------------------------------


def connections(monkeypatch: pytest.MonkeyPatch, *resolved: str) -> list[str]:
    """Have every name resolve to these addresses; return the list of those that are connected to, and do not answer."""
    tried: list[str] = []

    def refuse(target: tuple[str, int], timeout: float) -> socket.socket:
        assert timeout > 0
        tried.append(target[0])
        raise ConnectionRefusedError

    def resolve(_host: str, port: int, **_how: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in resolved]

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return tried


INTERNAL = [
    "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", "fe80::1%eth0",
    "224.0.0.1", "ff02::1", "0.0.0.0", "::", "no address",  # noqa: S104 - nothing binds to it
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.2.1", "240.0.0.1", "255.255.255.255",
    "::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "::10.0.0.1", "fc00::1", "fd12::1", "fec0::1", "2001:db8::1",
    "2002:a00:1::1", "2001:0:a00:1::1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "ff0e::1", "100::1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize("source", ["192.0.2.7", "2001:db8::7", "no address"])
def test_strangers_cannot_have_the_services_own_machine_knocked_at(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = connections(monkeypatch, *INTERNAL, "8.8.4.4", "2606:4700::1111")
    with pytest.raises(AddressUnreachable):
        knock(WorkerAddress(host="rebound.example", port=1, fingerprint=IDENTITY.fingerprint), source=source)
    assert tried == ["8.8.4.4", "2606:4700::1111"]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("127.0.0.1", "127.0.0.2"),
        ("::1", "169.254.1.1"),
        ("::1", "10.0.0.1"),
        ("169.254.1.1", "169.254.1.1"),
        ("fe80::1", "fe80::1"),
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
    ],
)
def test_a_member_of_the_pool_can_leave(source: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = connections(monkeypatch, target)
    with pytest.raises(AddressUnreachable):
        knock(WorkerAddress(host="here", port=1, fingerprint=IDENTITY.fingerprint), source=source)
    assert tried == [target]


def test_the_operator_allows_private_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = connections(monkeypatch, "10.1.2.3", "10.2.0.1", "fd12::7", "fd13::7", "127.0.0.1")
    by = TlsProber(networks=["10.1.0.0/16", "fd12::/64"])
    with pytest.raises(AddressUnreachable):
        knock(WorkerAddress(host="here", port=1, fingerprint=IDENTITY.fingerprint), source="192.0.2.7", by=by)
    assert tried == ["10.1.2.3", "fd12::7"]


# --- how often ------------------------------------------------------------------------------------------------------


def test_the_resolver_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def hang(*_of: Any, **_how: Any) -> list[Any]:
        done.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = time.monotonic()
    with pytest.raises(AddressUnreachable):
        knock(address(1), by=TlsProber(timeout_s=0.1))
    assert time.monotonic() - started < 2
    done.set()


@pytest.mark.parametrize(
    ("under_way", "account", "source", "free"),
    [
        ([("a", "1")], "a", "2", False),
        ([("a", "1")], "b", "1", True),
        ([(f"a{n}", "1") for n in range(MAX_KNOCKS_PER_SOURCE)], "b", "1", False),
        ([(f"a{n}", "1") for n in range(MAX_KNOCKS_PER_SOURCE)], "b", "2", True),
        ([(f"a{n}", f"{n}") for n in range(MAX_KNOCKS)], "b", "x", False),
        ([(f"a{n}", f"{n}") for n in range(MAX_KNOCKS - 1)], "b", "x", True),
    ],
)
def test_a_caller_that_would_have_to_wait_is_refused(
    under_way: list[tuple[str, str]], account: str, source: str, *, free: bool
) -> None:
    knocking = Knocks(time.monotonic)
    with ExitStack() as held:
        for each in under_way:
            held.enter_context(knocking.place(*each))
        if free:
            held.enter_context(knocking.place(account, source))
        else:
            with pytest.raises(DiscoveryUnavailable, match="try again"), knocking.place(account, source):
                pass
    with knocking.place(account, source):  # all places are given back
        assert knocking._under_way.total() == 3


def test_silent_machines_of_few_addresses_do_not_block_registration() -> None:
    """Sixteen accounts at two addresses, each at a machine that takes the connection and says nothing."""
    knocking, clock = TlsProber(timeout_s=0.5), ManualClock()
    knocking._knocks = Knocks(clock)
    stop = threading.Event()

    def hold(account: int, source: str) -> None:
        number = account
        while not stop.is_set():
            number += 100  # a new account each time: they cost nothing
            with suppress(AddressUnreachable, DiscoveryUnavailable):
                knocking.probe(silent, account=f"a{number}", source=source)
            stop.wait(0.01)

    with socket.create_server(("127.0.0.1", 0), backlog=500) as mute, door(greet) as port:
        silent = address(mute.getsockname()[1])
        sources = ("127.0.0.1", "::1")
        threads = [threading.Thread(target=hold, args=(n, sources[n % 2])) for n in range(16)]
        for thread in threads:
            thread.start()
        try:
            deadline = time.monotonic() + 20
            while len(knocking._knocks._doubted) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(0.6)  # what was under way at their first failure is over
            knocking.probe(address(port), account="honest", source="127.0.0.9")
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def failed(knocking: Knocks, account: str, source: str) -> None:
    with pytest.raises(AddressUnreachable), knocking.place(account, source):
        raise AddressUnreachable("nobody")


def test_an_account_waits_longer_after_each_failure_and_not_after_an_answer() -> None:
    clock = ManualClock()
    knocking = Knocks(clock)
    for wait_s in (2, 4, 8, 16, 32, 64, 128, 256, MAX_WAIT_S, MAX_WAIT_S):
        failed(knocking, "a", "1")
        clock.advance(wait_s - 0.5)
        with pytest.raises(DiscoveryUnavailable, match="try again in"), knocking.place("a", "2"):
            pass
        clock.advance(0.5)
    with knocking.place("a", "1"):
        pass
    with knocking.place("a", "1"):
        pass
    failed(knocking, "a", "1")
    clock.advance(2)
    failed(knocking, "a", "1")


def test_sources_where_a_check_failed_share_few_places_for_a_while() -> None:
    clock = ManualClock()
    knocking = Knocks(clock)
    with knocking.place("known", "2001:db8::1"):
        pass
    networks = [f"2001:db8:0:{number}::" for number in range(9)]
    for number, network in enumerate(networks):
        failed(knocking, f"a{number}", f"{network}1")
    with ExitStack() as held:
        for number in range(8):
            held.enter_context(knocking.place(f"b{number}", f"{networks[number // 2]}{number + 2}"))
        for account, source in (("b8", f"{networks[0]}99"), ("b9", f"{networks[8]}1")):
            with pytest.raises(DiscoveryUnavailable), knocking.place(account, source):
                pass
        held.enter_context(knocking.place("known", "2001:db8::1"))
        held.enter_context(knocking.place("stranger", "198.51.100.7"))
    clock.advance(301)
    with ExitStack() as held:
        for number in range(8):
            held.enter_context(knocking.place(f"c{number}", f"{networks[0]}{number}"))
        with pytest.raises(DiscoveryUnavailable), knocking.place("c8", f"{networks[0]}77"):
            pass
