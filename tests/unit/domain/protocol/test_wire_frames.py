from __future__ import annotations

import base64
import json
import struct

import pytest

from ec262.domain.errors import MessageTooLarge, ProtocolViolation, VersionMismatch
from ec262.domain.protocol import wire
from ec262.domain.protocol.messages import Assign, Committed, Compute, Delivered, Hello, Ready
from ec262.domain.protocol.wire import Decoder, encode, negotiate
from ec262.domain.work.work import Limits
from tests.work_messages import compute_message

COMPUTE = compute_message(seed=7, round_floats=12, functions=b"FFF", rows=b"RR")

HEADER = {
    "kind": "compute",
    "task": "t",
    "work_hash": "A" * 43 + "=",
    "nonce": "A" * 43 + "=",
    "phase": "map",
    "seed": 1,
    "limits": {"cpu_s": 1, "wall_s": 1, "memory_bytes": 1, "output_bytes": 1, "log_bytes": 1},
    "round_floats": 0,
    "unpacked_bytes": 0,
    "functions": 0,
    "rows": 0,
}
"""Of the smallest ``compute`` message."""


def frame(header: object, payload: bytes = b"") -> bytes:
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack(">II", len(data), len(payload)) + data + payload


def decode(data: bytes) -> object:
    decoder = Decoder()
    decoder.feed(data)
    return decoder.next_message(1 << 20)


def test_a_small_message_is_one_piece() -> None:
    assert encode(Hello(versions=(2, 1), release="0.1.0")) == [
        b'\x00\x00\x00\x33\x00\x00\x00\x00{"kind":"hello","versions":[2,1],"release":"0.1.0"}'
    ]
    assert encode(Assign(task="t", secret=b"\x00" * 16)) == [
        b'\x00\x00\x00\x40\x00\x00\x00\x00{"kind":"assign","task":"t","secret":"AAAAAAAAAAAAAAAAAAAAAA=="}'
    ]


def test_large_fields_follow_their_header_uncopied() -> None:
    pieces = encode(COMPUTE)
    assert pieces[1] is COMPUTE.functions
    assert pieces[2] is COMPUTE.rows
    header = json.loads(pieces[0][8:])
    assert header == {
        "kind": "compute",
        "task": "t",
        "work_hash": base64.b64encode(COMPUTE.work_hash).decode(),
        "nonce": base64.b64encode(COMPUTE.nonce).decode(),
        "phase": "map",
        "seed": 7,
        "limits": {
            "cpu_s": 600.0,
            "wall_s": 600.0,
            "memory_bytes": 1 << 30,
            "output_bytes": 64 << 20,
            "log_bytes": 64 << 10,
        },
        "round_floats": 12,
        "unpacked_bytes": 0,
        "functions": 3,
        "rows": 2,
    }
    assert struct.unpack_from(">II", pieces[0]) == (len(pieces[0]) - 8, 5)


def test_a_message_larger_than_a_frame_is_refused_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_PAYLOAD_BYTES", 5)
    encode(Delivered(task="t", ciphertext=b"123", log=b"45"))
    with pytest.raises(MessageTooLarge, match="6 bytes"):
        encode(Delivered(task="t", ciphertext=b"123", log=b"456"))


def test_the_limit_may_change_between_the_pieces_of_a_message() -> None:
    decoder = Decoder()
    decoder.feed(encode(COMPUTE)[0])
    with pytest.raises(MessageTooLarge, match="5 bytes: at most 4 are allowed now"):
        decoder.next_message(4)
    assert decoder.next_message(5) is None
    decoder.feed(b"FFFRR")
    assert decoder.next_message(5) == COMPUTE


def test_whole_seconds_are_seconds() -> None:
    whole = compute_message(limits=Limits(cpu_s=5))
    decoded = decode(b"".join(encode(whole)))
    assert isinstance(decoded, Compute)
    assert repr(decoded.limits.cpu_s) == "5.0"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(b""), "not JSON"),
        (frame(b"\xff"), "not JSON"),
        (frame(b"{}{}"), "not JSON"),
        (frame(b"[" * 16_000), "not JSON"),
        (frame(b'{"kind":"ready","task":NaN}'), "not JSON"),
        (frame(b'{"kind":"ready","task":"t","task":"t"}'), "not JSON"),
        (frame(b'{"kind":"welcome","release":"","version":' + b"1" * 5000 + b"}"), "not JSON"),
        (frame([]), "unknown kind"),
        (frame({}), "unknown kind"),
        (frame({"kind": 1}), "unknown kind"),
        (frame({"kind": ["ready"]}), "unknown kind"),
        (frame({"kind": "Ready", "task": "t"}), "unknown kind"),
        (frame({"kind": "ready"}), "missing or unknown"),
        (frame({"kind": "ready", "task": "t", "x": 1}), "missing or unknown"),
        (frame({"kind": "ready", "task": 1}), "wrong type"),
        (frame({"kind": "ready", "task": None}), "wrong type"),
        (frame({"kind": "refused", "task": "t", "reason": "\ud800"}), "wrong type"),
        (frame({"kind": "welcome", "version": True, "release": ""}), "wrong type"),
        (frame({"kind": "welcome", "version": 1.0, "release": ""}), "wrong type"),
        (frame({"kind": "welcome", "version": 2**63, "release": ""}), "wrong type"),
        (frame({"kind": "hello", "versions": {"1": 1}, "release": ""}), "wrong type"),
        (frame({"kind": "hello", "versions": ["1"], "release": ""}), "wrong type"),
        (frame({"kind": "assign", "task": "t", "secret": "AAAA AAAA"}), "wrong type"),
        (frame({"kind": "assign", "task": "t", "secret": "é"}), "wrong type"),
        (frame({"kind": "assign", "task": "t", "secret": [1] * 16}), "wrong type"),
        (frame({"kind": "delivered", "task": "t", "ciphertext": -1, "log": 1}), "wrong type"),
        (frame({"kind": "delivered", "task": "t", "ciphertext": "abc", "log": 0}), "wrong type"),
        (frame({"kind": "delivered", "task": "t", "ciphertext": 1, "log": 1}, b"123"), "do not fill"),
        (frame({"kind": "delivered", "task": "t", "ciphertext": 2, "log": 2}, b"123"), "do not fill"),
        (frame({"kind": "ready", "task": "t"}, b"1"), "do not fill"),
        (frame({"kind": "ready", "task": "a task"}), "an invalid value"),
        (frame({"kind": "ready", "task": "t" * 65}), "an invalid value"),
        (frame({"kind": "assign", "task": "t", "secret": "AAAA"}), "an invalid value"),
        (frame({"kind": "hello", "versions": [1] * 17, "release": ""}), "an invalid value"),
        (frame({"kind": "refused", "task": "t", "reason": "r" * 1001}), "an invalid value"),
    ],
)
def test_bytes_that_are_not_a_message_are_a_violation(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolViolation, match=reason):
        decode(data)


@pytest.mark.parametrize(
    "limits",
    [
        None,
        {},
        {"cpu_s": 1, "wall_s": 1, "memory_bytes": 1, "output_bytes": 1},
        {"cpu_s": 1, "wall_s": 1, "memory_bytes": 1, "output_bytes": 1, "log_bytes": 1, "x": 1},
        {"cpu_s": "1", "wall_s": 1, "memory_bytes": 1, "output_bytes": 1, "log_bytes": 1},
        {"cpu_s": 1, "wall_s": 1, "memory_bytes": 1.0, "output_bytes": 1, "log_bytes": 1},
        {"cpu_s": 0, "wall_s": 1, "memory_bytes": 1, "output_bytes": 1, "log_bytes": 1},
        {"cpu_s": 10**400, "wall_s": 1, "memory_bytes": 1, "output_bytes": 1, "log_bytes": 1},
    ],
)
def test_limits_are_complete_and_positive(limits: object) -> None:
    assert isinstance(decode(frame(HEADER)), Compute)
    with pytest.raises(ProtocolViolation):
        decode(frame({**HEADER, "limits": limits}))


@pytest.mark.parametrize(
    "change",
    [
        *[{"phase": phase} for phase in ("sort", 1, ["map"])],
        *[{"seed": seed} for seed in (-1, 2**63)],
        *[{"round_floats": digits} for digits in (-1, 16, 1.0, None)],
        *[{"unpacked_bytes": size} for size in (-1, 1.0, None)],
    ],
)
def test_phase_seed_and_digits_are_of_their_kind(change: dict[str, object]) -> None:
    with pytest.raises(ProtocolViolation):
        decode(frame({**HEADER, **change}))


def test_an_infinite_limit_is_refused() -> None:
    header = json.dumps(HEADER).replace('"cpu_s": 1', '"cpu_s": 1e999').encode()
    with pytest.raises(ProtocolViolation, match="wrong type"):
        decode(frame(header))


def test_a_message_may_follow_another_in_one_portion() -> None:
    decoder = Decoder()
    decoder.feed(b"".join(encode(Ready(task="a")) + encode(COMPUTE) + encode(Ready(task="b")))[:-1])
    assert decoder.next_message(5) == Ready(task="a")
    assert decoder.next_message(5) == COMPUTE
    assert decoder.next_message(5) is None
    assert decoder.begun


def test_the_best_common_version_is_chosen() -> None:
    assert negotiate((4, 3, 2, 1)) == 3
    with pytest.raises(VersionMismatch, match="this side supports 3, the peer 4, 2"):
        negotiate((4, 2))
    with pytest.raises(VersionMismatch, match="the peer none"):
        negotiate(())


@pytest.mark.parametrize("took_s", [-0.1, "1", None, True])
def test_the_duration_of_a_task_is_a_time(took_s: object) -> None:
    assert isinstance(decode(frame({"kind": "committed", "task": "t", "took_s": 1})), Committed)
    with pytest.raises(ProtocolViolation):
        decode(frame({"kind": "committed", "task": "t", "took_s": took_s}))
