from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec262.domain.errors import MessageTooLarge, ProtocolViolation
from ec262.domain.protocol.messages import (
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
from ec262.domain.protocol.wire import MAX_HEADER_BYTES, Decoder, encode
from ec262.domain.work.work import Limits, Phase

LARGEST = 1 << 32

tasks = st.text("abcXYZ019_-", max_size=64)
secrets = st.binary(min_size=16, max_size=64)
sentences = st.text(max_size=40)
ints = st.integers(-(2**63) + 1, 2**63 - 1)
quantities = st.integers(1, 2**62)
durations = st.one_of(
    st.floats(min_value=0, exclude_min=True, allow_infinity=False), st.integers(1, 10**6).map(float), st.just(600)
)
payloads = st.binary(max_size=200)
limits = st.builds(
    Limits,
    cpu_s=durations,
    wall_s=durations,
    memory_bytes=quantities,
    output_bytes=quantities,
    log_bytes=quantities,
)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, versions=st.lists(ints, max_size=16).map(tuple), release=sentences),
    st.builds(Welcome, version=ints, release=sentences),
    st.builds(Assign, task=tasks, secret=secrets),
    st.builds(Ready, task=tasks),
    st.builds(Refused, task=tasks, reason=sentences),
    st.builds(
        Compute,
        task=tasks,
        work_hash=st.binary(min_size=32, max_size=32),
        nonce=st.binary(min_size=32, max_size=32),
        phase=st.sampled_from(Phase),
        seed=st.integers(0, 2**63 - 1),
        limits=limits,
        round_floats=st.integers(0, 15),
        functions=payloads,
        rows=payloads,
    ),
    st.builds(Committed, task=tasks),
    st.builds(Failed, task=tasks, reason=sentences),
    st.builds(Deliver, task=tasks, secret=secrets),
    st.builds(Delivered, task=tasks, ciphertext=payloads, log=payloads),
)


def decode_all(portions: list[bytes]) -> list[Message]:
    decoder = Decoder()
    decoded = []
    for portion in portions:
        decoder.feed(portion)
        while (message := decoder.next_message(LARGEST)) is not None:
            decoded.append(message)
    assert not decoder.begun
    return decoded


def frame(header: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">II", len(header), len(payload)) + header + payload


def check_garbage(data: bytes) -> None:
    """Bytes give messages or a ProtocolViolation, and after that nothing else ever again."""
    decoder = Decoder()
    decoder.feed(data)
    try:
        while decoder.next_message(1000) is not None:
            pass
    except ProtocolViolation as error:
        with pytest.raises(type(error)):
            decoder.next_message(1000)


@given(st.lists(messages, max_size=5), st.data())
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(sent: list[Message], draw: st.DataObject) -> None:
    stream = b"".join(piece for message in sent for piece in encode(message))
    cuts = draw.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted), label="cuts")
    portions = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert decode_all(portions) == sent


@given(messages)
def test_a_message_comes_out_byte_by_byte_at_its_last_byte(message: Message) -> None:
    *most, last = b"".join(encode(message))
    decoder = Decoder()
    assert not decoder.begun
    for byte in most:
        decoder.feed(bytes([byte]))
        assert decoder.begun
        assert decoder.next_message(LARGEST) is None
    decoder.feed(bytes([last]))
    assert decoder.next_message(LARGEST) == message


@given(messages, st.data())
def test_the_limit_is_checked_once_the_sizes_are_there(message: Message, draw: st.DataObject) -> None:
    stream = b"".join(encode(message))
    _, payload_bytes = struct.unpack_from(">II", stream)
    limit = draw.draw(st.integers(0, payload_bytes), label="limit")
    decoder = Decoder()
    decoder.feed(stream[:8])
    if limit < payload_bytes:
        with pytest.raises(MessageTooLarge):
            decoder.next_message(limit)
    else:
        assert decoder.next_message(limit) is None


@given(st.binary(max_size=100))
def test_garbage_is_a_violation(data: bytes) -> None:
    check_garbage(data)
    check_garbage(frame(data))
    check_garbage(frame(b"{" + data + b"}", data))


@given(messages, st.data())
def test_a_damaged_frame_is_a_message_or_a_violation(message: Message, draw: st.DataObject) -> None:
    stream = bytearray(b"".join(encode(message)))
    for _ in range(draw.draw(st.integers(1, 4), label="changes")):
        index = draw.draw(st.integers(0, len(stream) - 1), label="index")
        stream[index] = draw.draw(st.integers(0, 255), label="byte")
    check_garbage(bytes(stream))


json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**63, -(2**63), 10**400, -1, 0]),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(["map", "\ud800", "AAAAAAAAAAAAAAAAAAAAAA==", "AAAA"]),
    ),
    lambda items: st.one_of(
        st.lists(items, max_size=3), st.dictionaries(st.sampled_from(["cpu_s", "wall_s", "x"]), items)
    ),
    max_leaves=5,
)


@given(messages, st.data())
def test_a_header_with_any_other_value_is_a_message_or_a_violation(message: Message, draw: st.DataObject) -> None:
    stream = b"".join(encode(message))
    header_bytes, _ = struct.unpack_from(">II", stream)
    header = json.loads(stream[8 : 8 + header_bytes])
    name = draw.draw(st.sampled_from([*header, "extra"]), label="field")
    header[name] = draw.draw(json_values, label="value")
    check_garbage(frame(json.dumps(header).encode(), stream[8 + header_bytes :]))


@given(messages, st.data())
def test_no_field_may_be_missing(message: Message, draw: st.DataObject) -> None:
    stream = b"".join(encode(message))
    header_bytes, _ = struct.unpack_from(">II", stream)
    header = json.loads(stream[8 : 8 + header_bytes])
    del header[draw.draw(st.sampled_from(list(header)), label="field")]
    decoder = Decoder()
    decoder.feed(frame(json.dumps(header).encode(), stream[8 + header_bytes :]))
    with pytest.raises(ProtocolViolation):
        decoder.next_message(LARGEST)


@given(st.integers(MAX_HEADER_BYTES + 1, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_header_has_a_limit_of_its_own(header_bytes: int, payload_bytes: int) -> None:
    decoder = Decoder()
    decoder.feed(struct.pack(">II", header_bytes, payload_bytes))
    with pytest.raises(MessageTooLarge):
        decoder.next_message(LARGEST)
