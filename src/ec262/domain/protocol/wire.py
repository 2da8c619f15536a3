"""Messages as bytes: a codec that does no I/O.

A frame is two big-endian unsigned 32-bit numbers, the sizes of header and payload, then the header, then the payload.
The header is a JSON object with ``kind`` and the message's fields; bytes are encoded in Base64. The payload consists of
the large fields, one after the other; the header contains their sizes.
"""

from __future__ import annotations

import json
import math
import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NoReturn

import attrs

from ec262.domain.errors import MessageTooLarge, ProtocolViolation, VersionMismatch
from ec262.domain.protocol.messages import (
    PROTOCOL_VERSIONS,
    Assign,
    Committed,
    Compute,
    Deliver,
    Delivered,
    Failed,
    Hello,
    Message,
    Ready,
    Refused,
    Welcome,
)
from ec262.domain.values.plain_json import is_unicode
from ec262.domain.work.work import Limits, Phase

MAX_HEADER_BYTES = 16 << 10
"""Enough for the longest reason with every character escaped."""

MAX_PAYLOAD_BYTES = (1 << 32) - 1
"""The limit of the frame. Receivers choose lower ones."""

INT_BITS = 64
"""The size of integers in headers, which are signed."""

_PREFIX = struct.Struct(">II")


def negotiate(versions: Sequence[int]) -> int:
    """Return the best protocol version that the peer also supports. Raises VersionMismatch."""
    for version in PROTOCOL_VERSIONS:
        if version in versions:
            return version
    raise VersionMismatch(
        f"no protocol version in common: this side supports {_listed(PROTOCOL_VERSIONS)}, the peer {_listed(versions)}"
    )


def encode(message: Message) -> list[bytes]:
    """Return a message's bytes in pieces, to be sent one after the other. Large fields are not copied.

    Raises MessageTooLarge beyond ``MAX_PAYLOAD_BYTES``.
    """
    kind = _KIND_OF[type(message)]
    readers = _KINDS[kind].readers
    payload: list[bytes] = [getattr(message, name) for name, read in readers.items() if read is _size]
    payload_bytes = sum(map(len, payload))
    if payload_bytes > MAX_PAYLOAD_BYTES:
        raise MessageTooLarge(
            f"the {kind} message has {payload_bytes} bytes: a frame holds at most {MAX_PAYLOAD_BYTES}"
        )
    fields = {
        name: len(getattr(message, name)) if read is _size else _to_json(getattr(message, name))
        for name, read in readers.items()
    }
    header = _write_json({"kind": kind, **fields}).encode()
    return [_PREFIX.pack(len(header), payload_bytes) + header, *payload]


@attrs.frozen(kw_only=True)
class Announcement:
    """What a frame's header says before the payload arrives. Only the sizes have been checked.

    ``memory_bytes`` is what the message will need: its payload, and its rows after unpacking.
    """

    kind: str
    task: str
    payload_bytes: int
    memory_bytes: int


class Decoder:
    """Turns the bytes that a peer sends, in portions of any size, into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: _Header | None = None

    @property
    def begun(self) -> bool:
        """Whether bytes of an incomplete message are buffered."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Request a message after each portion, so that the buffer never exceeds the limits."""
        self._buffer += data

    def announced(self, max_payload_bytes: int) -> Announcement | None:
        """Return what the next message says about itself, or None if its header is incomplete.

        Raises MessageTooLarge as soon as a message announces more than ``max_payload_bytes``, and ProtocolViolation if
        the header is invalid. The decoder is unusable after either.
        """
        self._end(max_payload_bytes)
        return None if self._header is None else self._header.announcement

    def next_message(self, max_payload_bytes: int) -> Message | None:
        """Return the next message, or None if it is incomplete.

        Raises the same errors as ``announced``, and ProtocolViolation for a message with invalid values.
        """
        end = self._end(max_payload_bytes)
        if self._header is None or len(self._buffer) < end:
            return None
        header_end = end - self._header.announcement.payload_bytes
        with memoryview(self._buffer) as view:
            message = self._header.message(view, header_end)
        self._header = None
        del self._buffer[:end]
        return message

    def _end(self, max_payload_bytes: int) -> int:
        """Read the next header if it has arrived. Return where its message ends, or 0 if that is not known yet."""
        if len(self._buffer) < _PREFIX.size:
            return 0
        header_bytes: int
        payload_bytes: int
        header_bytes, payload_bytes = _PREFIX.unpack_from(self._buffer)
        if header_bytes > MAX_HEADER_BYTES:
            raise MessageTooLarge(f"the header has {header_bytes} bytes: at most {MAX_HEADER_BYTES} are allowed")
        if payload_bytes > max_payload_bytes:
            raise MessageTooLarge(f"the payload has {payload_bytes} bytes: at most {max_payload_bytes} are allowed now")
        header_end = _PREFIX.size + header_bytes
        if self._header is None and len(self._buffer) >= header_end:
            self._header = _read_header(bytes(self._buffer[_PREFIX.size : header_end]), payload_bytes)
        return header_end + payload_bytes


@attrs.frozen(kw_only=True)
class _Header:
    """A header whose fields have the right types. ``sizes`` are those of the large fields, in order."""

    kind: str
    small: Mapping[str, Any]
    sizes: Mapping[str, int]

    @property
    def announcement(self) -> Announcement:
        payload_bytes = sum(self.sizes.values())
        return Announcement(
            kind=self.kind,
            task=self.small.get("task", ""),
            payload_bytes=payload_bytes,
            memory_bytes=payload_bytes + max(0, self.small.get("unpacked_bytes", 0)),
        )

    def message(self, frame: memoryview, start: int) -> Message:
        large = {}
        for name, size in self.sizes.items():
            large[name] = bytes(frame[start : start + size])
            start += size
        try:
            return _KINDS[self.kind].type(**self.small, **large)
        except (ValueError, TypeError) as error:
            raise ProtocolViolation(f"the {self.kind} message has an invalid value") from error


def _read_header(data: bytes, payload_bytes: int) -> _Header:
    try:
        header = _read_json(data.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation("the header is not JSON") from error
    kind = header.get("kind") if isinstance(header, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ProtocolViolation("unknown kind of message")
    readers = _KINDS[kind].readers
    if header.keys() != {"kind", *readers}:
        raise ProtocolViolation(f"the {kind} message has missing or unknown fields")
    try:
        fields = {name: read(header[name]) for name, read in readers.items()}
    except (TypeError, ValueError) as error:
        raise ProtocolViolation(f"the {kind} message has a field of the wrong type") from error
    sizes = {name: fields.pop(name) for name, read in readers.items() if read is _size}
    if sum(sizes.values()) != payload_bytes:
        raise ProtocolViolation(f"the fields of the {kind} message do not fill its payload")
    return _Header(kind=kind, small=fields, sizes=sizes)


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(fields := dict(pairs)) < len(pairs):
        raise ValueError("a field occurs twice")
    return fields


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Created once: with options, json's functions create a new one in each call, which takes as long as the call itself.
_write_json = json.JSONEncoder(separators=(",", ":")).encode
_read_json = json.JSONDecoder(object_pairs_hook=_read_object, parse_constant=_refuse).decode


# --- fields ---------------------------------------------------------------------------------------------------------


def _to_json(value: Any) -> object:
    match value:
        case bytes():
            return b2a_base64(value, newline=False).decode()
        case Enum():
            return value.value
        case Limits():
            return attrs.asdict(value)
        case _:
            return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a string")
    if not is_unicode(value):
        raise ValueError("expected a string without lone surrogates")
    return value


def _int(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("expected an integer")
    if value.bit_length() >= INT_BITS:
        raise ValueError(f"expected a {INT_BITS}-bit integer")
    return value


def _size(value: object) -> int:
    size = _int(value)
    if size < 0:
        raise ValueError("expected a non-negative size")
    return size


def _float(value: object) -> float:
    number = value if isinstance(value, float) else float(_int(value))
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    return number


def _bytes(value: object) -> bytes:
    return a2b_base64(_text(value), strict_mode=True)


def _phase(value: object) -> Phase:
    return Phase(value)


def _ints(value: object) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise TypeError("expected an array")
    return tuple(map(_int, value))


def _limits(value: object) -> Limits:
    if not isinstance(value, dict) or value.keys() != _LIMITS.keys():
        raise TypeError("expected limits")
    return Limits(**{name: read(value[name]) for name, read in _LIMITS.items()})


_LIMITS: dict[str, Callable[[object], Any]] = {
    "cpu_s": _float,
    "wall_s": _float,
    "memory_bytes": _int,
    "output_bytes": _int,
    "log_bytes": _int,
}


@attrs.frozen
class _Kind:
    """A kind of message: its class, and for each field a function that reads it from JSON or raises TypeError or
    ValueError."""

    type: Callable[..., Message]
    readers: Mapping[str, Callable[[object], Any]]


_KINDS = {
    "hello": _Kind(Hello, {"versions": _ints, "release": _text}),
    "welcome": _Kind(Welcome, {"version": _int, "release": _text}),
    "assign": _Kind(Assign, {"task": _text, "secret": _bytes}),
    "ready": _Kind(Ready, {"task": _text}),
    "refused": _Kind(Refused, {"task": _text, "reason": _text}),
    "compute": _Kind(
        Compute,
        {
            "task": _text,
            "work_hash": _bytes,
            "nonce": _bytes,
            "phase": _phase,
            "seed": _int,
            "limits": _limits,
            "round_floats": _int,
            "unpacked_bytes": _int,
            "functions": _size,
            "rows": _size,
        },
    ),
    "committed": _Kind(Committed, {"task": _text, "took_s": _float}),
    "failed": _Kind(Failed, {"task": _text, "reason": _text}),
    "deliver": _Kind(Deliver, {"task": _text, "secret": _bytes}),
    "delivered": _Kind(Delivered, {"task": _text, "ciphertext": _size, "log": _size}),
}
_KIND_OF = {kind.type: name for name, kind in _KINDS.items()}


def _listed(versions: Sequence[int]) -> str:
    return ", ".join(map(str, versions)) or "none"
