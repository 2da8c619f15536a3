"""What strangers may do to a TCP listener and to a dialer, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import stat
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ec262.adapters.tcp import connection as connection_module
from ec262.adapters.tcp import tls
from ec262.adapters.tcp.certificate import make_identity
from ec262.adapters.tcp.connection import TcpConnection
from ec262.adapters.tcp.dialer import TcpDialer
from ec262.adapters.tcp.listener import TcpListener
from ec262.domain.errors import ConfigurationError, MessageTooLarge, PeerError, PeerLost, ProtocolViolation
from ec262.domain.ports.transport import Connection
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.messages import Delivered, Hello, Message
from ec262.domain.protocol.wire import encode

HELLO = Hello(versions=(3,), release="test")


class Server:
    """A listener whose handler answers Hello with Hello and notes how each connection ended."""

    def __init__(self, listener: TcpListener, *, timeout_s: float | None) -> None:
        self.listener = listener
        self.ends: asyncio.Queue[PeerError] = asyncio.Queue()
        self.proves = False
        self._timeout_s = timeout_s
        self.address = WorkerAddress(host="127.0.0.1", port=1, fingerprint="0" * 64)

    async def start(self) -> None:
        endpoint = await self.listener.start(self._handle)
        self.address = WorkerAddress(host="127.0.0.1", port=endpoint.port, fingerprint=endpoint.fingerprint)

    async def end(self) -> PeerError:
        async with asyncio.timeout(10):
            return await self.ends.get()

    async def works(self) -> bool:
        connection = await TcpDialer().connect(self.address, timeout_s=5)
        await connection.send(HELLO, timeout_s=5)
        reply = await connection.receive(max_payload_bytes=0, timeout_s=5)
        await connection.close()
        await self.end()
        return reply == HELLO

    async def _handle(self, connection: Connection) -> None:
        try:
            while True:
                connection.proven = self.proves
                message: Message = await connection.receive(max_payload_bytes=1000, timeout_s=self._timeout_s)
                await connection.send(message, timeout_s=5)
        except PeerError as error:
            self.ends.put_nowait(error)


StartServer = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start() -> AsyncIterator[StartServer]:
    servers: list[Server] = []

    async def start(*, timeout_s: float | None = 5.0, **caps: float) -> Server:
        server = Server(TcpListener("127.0.0.1", 0, **caps), timeout_s=timeout_s)  # type: ignore[arg-type]  # caps are ints or floats as named
        servers.append(server)
        await server.start()
        return server

    yield start
    for server in servers:
        await server.listener.close()


async def tls_stream(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.address.port, ssl=tls.client_context())


async def shut(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (struct.pack(">II", 7, 0) + b"garbage", ProtocolViolation),
        (b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n", MessageTooLarge),
        (struct.pack(">II", 10, 1001), MessageTooLarge),
        (struct.pack(">II", 10, 0xFFFFFFFF), MessageTooLarge),
        (struct.pack(">II", 0xFFFFFFFF, 0), MessageTooLarge),
        (os.urandom(1 << 20), ProtocolViolation),
    ],
)
async def test_garbage_ends_its_connection_only(start: StartServer, data: bytes, error: type[PeerError]) -> None:
    server = await start()
    reader, writer = await tls_stream(server)
    writer.write(data)
    assert isinstance(await server.end(), error)
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    await shut(writer)
    assert await server.works()


async def test_half_a_frame_and_gone(start: StartServer) -> None:
    server = await start()
    _reader, writer = await tls_stream(server)
    writer.write(b"".join(encode(HELLO))[:-5])
    await writer.drain()
    await asyncio.sleep(0.05)
    await shut(writer)
    assert isinstance(await server.end(), PeerLost)
    assert await server.works()


async def test_a_reset_is_a_lost_peer_to_who_receives(start: StartServer) -> None:
    server = await start()
    _reader, writer = await tls_stream(server)
    await asyncio.sleep(0.05)
    reset(writer)
    lost = await server.end()
    assert isinstance(lost, PeerLost)
    assert "broke" in str(lost)
    assert await server.works()


@pytest.mark.parametrize("when", ["before the first byte", "in the middle"])
async def test_a_reset_is_a_lost_peer_to_who_sends(when: str) -> None:
    loop = asyncio.get_running_loop()
    connected: asyncio.Future[ssl.SSLSocket] = loop.create_future()
    ended: asyncio.Future[PeerError | None] = loop.create_future()

    async def handler(connection: Connection) -> None:
        client = await connected
        if when == "before the first byte":  # and the event loop has had no turn to hear of it
            break_off(client)
        try:
            await connection.send(Delivered(task="t" * 8, ciphertext=bytes(64 << 20), log=b""), timeout_s=10)
            ended.set_result(None)
        except PeerError as error:
            ended.set_result(error)

    talker = TcpListener("127.0.0.1", 0)
    endpoint = await talker.start(handler)
    plain = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", endpoint.port))
    client = await asyncio.to_thread(tls.client_context().wrap_socket, plain)
    connected.set_result(client)
    if when == "in the middle":
        await asyncio.to_thread(client.recv, 1)
        break_off(client)
    async with asyncio.timeout(10):
        lost = await ended
    await talker.close()
    assert isinstance(lost, PeerLost)
    assert "broke" in str(lost)


def break_off(client: socket.socket) -> None:
    """Have the kernel break the connection at once, without TLS's or TCP's goodbye."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Have the kernel break the connection, without TLS's or TCP's goodbye."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_half_a_frame_and_silence_ends_also_without_a_timeout(
    start: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "BEGUN_S", 0.2)
    server = await start(timeout_s=None)
    _reader, writer = await tls_stream(server)
    await asyncio.sleep(0.4)  # silence before a message is fine
    writer.write(b"".join(encode(HELLO))[:-5])
    began = time.monotonic()
    assert isinstance(await server.end(), PeerLost)
    assert time.monotonic() - began < 2
    await shut(writer)


async def test_a_slow_drip_is_cut_off(start: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "BEGUN_S", 0.3)
    server = await start(timeout_s=None)
    _reader, writer = await tls_stream(server)

    async def drip() -> None:
        for byte in struct.pack(">II", 16_000, 0) + bytes(16_000):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip())
    began = time.monotonic()
    assert isinstance(await server.end(), PeerLost)
    assert time.monotonic() - began < 3
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)
    await shut(writer)


async def test_steady_small_messages_are_not_a_slow_drip(start: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "BEGUN_S", 0.2)
    server = await start(timeout_s=None)
    reader, writer = await tls_stream(server)
    data = b"".join(encode(HELLO))
    for _ in range(6):
        writer.write(data[:20])
        await asyncio.sleep(0.05)
        writer.write(data[20:])
        assert await asyncio.wait_for(reader.readexactly(len(data)), 5) == data
    await shut(writer)


async def test_a_silent_peer_is_dropped(start: StartServer) -> None:
    server = await start(timeout_s=0.1)
    _reader, writer = await tls_stream(server)
    assert isinstance(await server.end(), PeerLost)
    await shut(writer)


async def test_a_client_in_plain_text_is_dropped(start: StartServer) -> None:
    server = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.address.port)
    writer.write(b"".join(encode(HELLO)))
    # At most TLS's own goodbye comes back.
    assert len(await asyncio.wait_for(reader.read(), 5)) < 20
    await shut(writer)
    assert await server.works()


async def test_a_client_that_never_shakes_hands_is_dropped(start: StartServer) -> None:
    server = await start(handshake_s=0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.address.port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await shut(writer)
    assert await server.works()


async def test_old_tls_is_refused(start: StartServer) -> None:
    server = await start()
    context = tls.client_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError):  # noqa: PT011 - an alert or a reset, as chance has it
        await asyncio.open_connection("127.0.0.1", server.address.port, ssl=context)
    assert await server.works()


@pytest.mark.parametrize("caps", [{"max_connections": 3}, {"max_per_host": 3}])
async def test_connections_are_capped_handshakes_included(start: StartServer, caps: dict[str, float]) -> None:
    server = await start(**caps)
    server.proves = True
    proven = [await tls_stream(server) for _ in range(2)]
    for reader, writer in proven:
        writer.write(b"".join(encode(HELLO)))
        await reader.readexactly(1)
    idle = [await asyncio.open_connection("127.0.0.1", server.address.port) for _ in range(9)]
    for reader, _writer in idle[:-1]:
        assert await asyncio.wait_for(reader.read(), 5) == b""  # made way for the next
    proven.append(await tls_stream(server))  # the last one made way for it
    proven[-1][1].write(b"".join(encode(HELLO)))
    await proven[-1][0].readexactly(1)
    with pytest.raises(PeerLost):
        await TcpDialer().connect(server.address, timeout_s=5)
    for _reader, writer in [*idle, *proven]:
        await shut(writer)
    for _ in proven:
        await server.end()
    assert await server.works()


async def test_a_flooding_source_loses_its_connections_first(start: StartServer) -> None:
    server = await start(max_connections=6)
    other, others_writer = await asyncio.open_connection("127.0.0.1", server.address.port, local_addr=("127.7.7.7", 0))
    flood = [await asyncio.open_connection("127.0.0.1", server.address.port) for _ in range(20)]
    for reader, _writer in flood[:15]:
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert not other.at_eof()
    for _reader, writer in [(other, others_writer), *flood]:
        await shut(writer)


async def test_many_connections_at_once(start: StartServer) -> None:
    server = await start()
    opened = await asyncio.gather(*(TcpDialer().connect(server.address, timeout_s=20) for _ in range(50)))
    for connection in opened:
        await connection.send(HELLO, timeout_s=5)
    for connection in opened:
        assert await connection.receive(max_payload_bytes=0, timeout_s=5) == HELLO
    await asyncio.gather(*(connection.close() for connection in opened))
    assert await server.works()


async def test_neither_end_waits_to_send_small_messages() -> None:
    accepted: asyncio.Queue[Connection] = asyncio.Queue()
    listener = TcpListener("127.0.0.1", 0)
    endpoint = await listener.start(accepted.put)
    address = WorkerAddress(host="127.0.0.1", port=endpoint.port, fingerprint=endpoint.fingerprint)
    dialed = await TcpDialer().connect(address, timeout_s=5)
    for connection in (dialed, await asyncio.wait_for(accepted.get(), 5)):
        assert isinstance(connection, TcpConnection)
        assert connection._writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    await dialed.close()
    await listener.close()


async def test_a_listener_closes_amid_handshakes(start: StartServer) -> None:
    server = await start()
    plain = [await asyncio.open_connection("127.0.0.1", server.address.port) for _ in range(5)]
    await server.listener.close()
    for reader, writer in plain:
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        await shut(writer)


async def test_running_out_of_descriptors_is_survived(
    start: StartServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start()
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, [OSError(24, "Too many open files")]

    async def failing(listening: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return await accept(listening)

    monkeypatch.setattr(loop, "sock_accept", failing)
    assert await server.works()  # by the accept that was waiting already
    assert await server.works()
    assert "cannot accept connections" in caplog.text


async def test_the_host_of_a_listener_must_be_this_machine() -> None:
    async def handler(_connection: Connection) -> None:
        raise AssertionError

    for host in ("192.0.2.1", "worker.invalid"):
        with pytest.raises(ConfigurationError, match=f"cannot listen on {host}"):
            await TcpListener(host, 0).start(handler)


async def test_ipv6(start: StartServer) -> None:
    server = Server(TcpListener("::1", 0), timeout_s=5)
    try:
        await server.start()
    except ConfigurationError:
        pytest.skip("this machine has no IPv6")
    server.address = WorkerAddress(host="::1", port=server.address.port, fingerprint=server.address.fingerprint)
    assert await server.works()
    await server.listener.close()


async def test_a_listener_without_a_host_takes_connections_of_both_families(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "ec262")
    server = Server(TcpListener(None, 0, max_per_host=1), timeout_s=5)
    await server.start()
    loopbacks = ["127.0.0.1"]
    with contextlib.suppress(OSError), socket.create_connection(("::1", server.address.port), timeout=5):
        loopbacks.append("::1")  # this machine has IPv6
    for host in loopbacks:
        server.address = WorkerAddress(host=host, port=server.address.port, fingerprint=server.address.fingerprint)
        assert await server.works()
    await server.listener.close()
    assert "::ffff:" not in caplog.text


async def test_a_listener_without_a_host_does_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    create = socket.create_server

    def without_ipv6(address: tuple[str, int], **how: Any) -> socket.socket:
        if how["family"] == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "no such address")
        return create(address, **how)

    monkeypatch.setattr(socket, "create_server", without_ipv6)
    server = Server(TcpListener(None, 0), timeout_s=5)
    await server.start()
    assert await server.works()
    await server.listener.close()


async def test_a_listener_without_a_host_does_not_share_a_taken_port() -> None:
    server = Server(TcpListener(None, 0), timeout_s=5)
    await server.start()
    with pytest.raises(ConfigurationError, match=rf"cannot listen on port {server.address.port} \(Address already in"):
        await TcpListener(None, server.address.port).start(server._handle)
    await server.listener.close()


# --- dialing --------------------------------------------------------------------------------------------------------


async def test_a_dialed_peer_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = WorkerAddress(host="127.0.0.1", port=mute.getsockname()[1], fingerprint="0" * 64)
        with pytest.raises(PeerLost, match="within"):
            await TcpDialer().connect(address, timeout_s=0.1)


async def test_a_dialed_peer_that_speaks_no_tls() -> None:
    async def chat(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(chat, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(PeerLost):
        await TcpDialer().connect(WorkerAddress(host="127.0.0.1", port=port, fingerprint="0" * 64), timeout_s=5)
    server.close()
    await server.wait_closed()


async def test_a_host_that_has_no_address() -> None:
    with pytest.raises(PeerLost):
        await TcpDialer().connect(WorkerAddress(host="worker.invalid", port=1, fingerprint="0" * 64), timeout_s=5)


async def test_not_a_byte_is_sent_to_a_peer_with_another_certificate(start: StartServer) -> None:
    server = await start()
    other = WorkerAddress(host="127.0.0.1", port=server.address.port, fingerprint="f" * 64)
    with pytest.raises(PeerLost, match="certificate is different"):
        await TcpDialer().connect(other, timeout_s=5)
    assert str(await server.end()) == "the peer closed the connection"


async def test_a_send_that_is_cancelled_halfway_ends_the_connection(start: StartServer) -> None:
    release = asyncio.Event()

    async def handler(_connection: Connection) -> None:
        await release.wait()

    listener = TcpListener("127.0.0.1", 0)
    endpoint = await listener.start(handler)
    address = WorkerAddress(host="127.0.0.1", port=endpoint.port, fingerprint=endpoint.fingerprint)
    connection = await TcpDialer().connect(address, timeout_s=5)
    large = Delivered(task="t" * 8, ciphertext=bytes(32 << 20), log=b"")
    sending = asyncio.create_task(connection.send(large, timeout_s=30))
    await asyncio.sleep(0.2)
    assert not sending.done()
    sending.cancel()
    await asyncio.wait([sending])
    with pytest.raises(PeerLost):
        await connection.send(HELLO, timeout_s=5)
    await connection.close()
    release.set()
    await listener.close()


# --- the certificate ------------------------------------------------------------------------------------------------


def test_the_private_key_is_in_a_file_of_ones_own_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[Path, int, int]] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(self: ssl.SSLContext, path: Path) -> None:
        seen.append((path, stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)))
        load(self, path)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # no other test's files are in it
    make_identity()
    [(path, mode, folder_mode)] = seen
    assert (mode, folder_mode) == (0o600, 0o700)
    assert path.is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_certificate_is_another_one() -> None:
    first, second = make_identity(), make_identity()
    assert first.fingerprint != second.fingerprint
    assert len(first.fingerprint) == 64


@pytest.mark.parametrize("der", [None, b"another certificate"])
def test_nothing_but_the_pinned_certificate_is_pinned(der: bytes | None) -> None:
    assert not tls.is_pinned(der, tls.fingerprint_of(b"the certificate"))
    assert tls.is_pinned(b"the certificate", tls.fingerprint_of(b"the certificate"))


# --- stalls ---------------------------------------------------------------------------------------------------------

LARGE = Delivered(task="t" * 8, ciphertext=bytes(64 << 20), log=b"")


async def test_a_reader_that_stalls_is_given_up_whatever_it_read_before() -> None:
    sent: asyncio.Queue[tuple[float, PeerError]] = asyncio.Queue()

    async def handler(connection: Connection) -> None:
        try:
            await connection.send(LARGE, timeout_s=0.5)
        except PeerError as error:
            sent.put_nowait((time.monotonic(), error))

    listener = TcpListener("127.0.0.1", 0)
    endpoint = await listener.start(handler)
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port, ssl=tls.client_context())
    await reader.readexactly(32 << 20)
    stalled_at = time.monotonic()
    async with asyncio.timeout(20):
        ended_at, error = await sent.get()
    assert "stopped taking" in str(error)
    assert ended_at - stalled_at < 10
    await shut(writer)
    await listener.close()


async def test_a_message_that_stalls_is_given_up_however_fast_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "BEGUN_S", 0.5)
    ends: asyncio.Queue[PeerError] = asyncio.Queue()

    async def handler(connection: Connection) -> None:
        try:
            await connection.receive(max_payload_bytes=1 << 30, timeout_s=None)
        except PeerError as error:
            ends.put_nowait(error)

    listener = TcpListener("127.0.0.1", 0)
    endpoint = await listener.start(handler)
    _reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port, ssl=tls.client_context())
    writer.write(b"".join(encode(LARGE))[: 32 << 20])
    await writer.drain()
    async with asyncio.timeout(20):
        assert "too slow" in str(await ends.get())
    await shut(writer)
    await listener.close()
