"""Knocking at real doors."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from ec262.adapters.prober import TlsProber
from ec262.adapters.tcp.certificate import make_identity
from ec262.domain.commands import WorkerAddress
from ec262.domain.errors import AddressUnreachable

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


def greet(connection: socket.socket) -> None:
    IDENTITY.context.wrap_socket(connection, server_side=True).close()


def test_a_worker_with_the_certificate_is_believed() -> None:
    with door(greet) as port:
        TlsProber().probe(address(port))


def test_somebody_else_is_not() -> None:
    with door(greet) as port, pytest.raises(AddressUnreachable, match=f"port {port}"):
        TlsProber().probe(address(port, "00" * 32))


def test_something_else_is_not() -> None:
    def speak_http(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with door(speak_http) as port, pytest.raises(AddressUnreachable):
        TlsProber().probe(address(port))


def test_nobody_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(AddressUnreachable, match="is that the address to advertise"):
        TlsProber().probe(address(port))


def test_a_name_that_does_not_exist_is_not() -> None:
    with pytest.raises(AddressUnreachable):
        TlsProber().probe(WorkerAddress(host="..", port=1, fingerprint=IDENTITY.fingerprint))


def test_silence_is_not_waited_out() -> None:
    started = time.monotonic()

    def stay_silent(connection: socket.socket) -> None:
        while connection.recv(1024):
            pass

    with door(stay_silent) as port, pytest.raises(AddressUnreachable):
        TlsProber(timeout_s=0.2).probe(address(port))
    assert time.monotonic() - started < 2


def test_all_reasons_read_alike() -> None:
    """Whoever registers an address learns whether it has the worker's certificate, and nothing else about it."""
    texts = set()
    for answer in (greet, lambda connection: connection.sendall(b"ssh")):
        with door(answer) as port, pytest.raises(AddressUnreachable) as caught:
            TlsProber().probe(address(port, "00" * 32))
        texts.add(str(caught.value).replace(str(port), "PORT"))
    assert len(texts) == 1
