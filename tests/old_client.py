"""A client of 2012: what it sends, byte by byte, from an address of its own."""

from __future__ import annotations

import re
import socket

import attrs

TIMEOUT_S = 10.0


@attrs.frozen
class RawReply:
    """What came back: the status line, the header lines by lower-case name, the body. All of it bytes."""

    status: bytes
    headers: dict[bytes, bytes]
    body: bytes


@attrs.frozen
class OldClient:
    """Speaks from ``addr`` (any of 127.0.0.0/8, or ::1) to a server on ``port`` of ``host``."""

    port: int
    addr: str
    host: str = "127.0.0.1"

    def register_worker(self, port: int = 11235, ttl: int = 60) -> RawReply:
        """POST //workers."""
        return self.send(b"POST", b"//workers", b"port=%d&ttl=%d" % (port, ttl))

    def get_tasks(self, count: int) -> RawReply:
        """POST //tasks."""
        return self.send(b"POST", b"//tasks", b"n=%d" % count)

    def encrypt_data(self, task: bytes) -> RawReply:
        """GET //tasks/ID."""
        return self.send(b"GET", b"//tasks/" + task, b"valid=1")

    def decrypt_data(self, task: bytes, missing: bytes) -> RawReply:
        """DELETE //tasks/ID of a good result."""
        return self.send(b"DELETE", b"//tasks/" + task, b"valid=1&missing=" + missing)

    def invalidate_data(self, task: bytes) -> RawReply:
        """DELETE //tasks/ID of a bad one."""
        return self.send(b"DELETE", b"//tasks/" + task, b"valid=0")

    def send(self, method: bytes, target: bytes, form: bytes = b"", *lines: bytes) -> RawReply:
        """One request on a connection of its own."""
        return self.raw(request(method, target, form, *lines))

    def raw(self, sent: bytes) -> RawReply:
        """Send bytes, read until the server closes."""
        with socket.create_connection((self.host, self.port), TIMEOUT_S, source_address=(self.addr, 0)) as connection:
            connection.sendall(sent)
            received = bytearray()
            while chunk := connection.recv(65536):
                received += chunk
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        status, *fields = head.split(b"\r\n")
        headers = {name.lower(): value for name, value in (field.split(b": ", 1) for field in fields)}
        assert sent.startswith(b"HEAD ") or headers.get(b"content-length") == b"%d" % len(body)
        return RawReply(status, headers, body)


def request(method: bytes, target: bytes, form: bytes, *lines: bytes) -> bytes:
    """A request as the client of 2012 wrote it; ``lines`` are more headers."""
    return b"\r\n".join(
        [
            method + b" " + target + b" HTTP/1.1",
            b"Host: 127.0.0.1",
            b"Accept-Encoding: identity",
            b"Content-Length: %d" % len(form),
            b"Content-Type: application/x-www-form-urlencoded",
            b"Connection: close",
            *lines,
            b"",
            form,
        ]
    )


def only_id(reply: RawReply) -> bytes:
    """The id of the one task in a reply to ``get_tasks``, without trusting any JSON library."""
    found = re.fullmatch(rb'\{"([^"]+)":\["([^"]+)","([^"]+)","([^"]+)"\]\}', reply.body)
    assert found, reply
    return found[1]
