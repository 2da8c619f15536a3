from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ec262.domain.errors import NotCanonical, ValueNotEncodable
from ec262.domain.values import canonical
from tests.property.canonical_values import hashables, identity, texts, values

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"

LOOKALIKES: list[Any] = [
    *(None, True, False, 0, 1, -1, 0.0, -0.0, 1.0, -1.0, 1j, 0j, complex(-0.0, 0), complex(1, 0)),
    *(2**53, 2.0**53, 2**53 + 1, -(2**53) - 1, 10**400, float("nan"), float("inf"), -float("inf")),
    *("", "1", "true", "null", "nan", "[]", "0x1", "MQ==", "\ud800", "7aCA", "\ud83d\ude00", "\U0001f600"),
    *(b"", b"1", bytearray(), bytearray(b"1"), b"\xed\xa0\x80"),
    *([], (), set(), frozenset(), {}, [1], (1,), {1}, frozenset({1}), {1: 1}, {"1": 1}, {True: 1}, {1.0: 1}),
    *([1, 2], (1, 2), [[1, 2]], {1: 2}, {1, 2}, frozenset({1, 2}), [(1, 2)], [[1], [2]], {(1,): 2}, [{}, []]),
    *({"$int": "0x1"}, {"$tuple": [1]}, {"$tuple": [1], "a": 1}, {"$": 1}, {"": 1}, {"\ud800": 1}, {"7aCA": 1}),
    *({None: 1}, {"null": 1}, {"a": {"b": 1}}, {"a": {}, "b": 1}, {b"a": 1}, {"a": 1}),
]


@given(values)
@example([["word", 1]] * 20)
@example({"nan": [float("nan")] * 20, "inf": [float("-inf")] * 20})
@example(["\ud800"] * 20)
@example([2**53 + 1] * 20)
@example({f"key {i}": [i, {"n": i}] for i in range(20)})
def test_a_round_trip_gives_the_same_value_of_the_same_types(value: Any) -> None:
    data = canonical.encode(value)
    decoded = canonical.decode(data)
    assert identity(decoded) == identity(value)
    assert canonical.encode(decoded) == data


@given(st.lists(values, max_size=4))
def test_many_values_are_encoded_as_each_alone(many: list[Any]) -> None:
    encoded = canonical.encode_each(many)
    assert encoded == [canonical.encode(value) for value in many]
    assert canonical.encode_list(encoded) == canonical.encode(many)


@given(st.lists(st.one_of(texts, st.integers(), st.booleans(), st.none(), st.floats()), max_size=10))
def test_many_scalars_are_encoded_as_each_alone(many: list[Any]) -> None:
    assert canonical.encode_each(many) == [canonical.encode(value) for value in many]


@given(st.text(max_size=5), st.integers(4090, 5000), st.text(max_size=5))
@example("\ud800", 5000, "")
@example("", 5000, "\x1f")
def test_long_texts_are_written_as_json_writes_them(before: str, length: int, after: str) -> None:
    text = before + "x" * length + after
    expected = json.dumps(text, ensure_ascii=False)
    try:
        expected.encode()
    except UnicodeEncodeError:
        assert identity(canonical.decode(canonical.encode(text))) == identity(text)
    else:
        assert canonical.encode(text) == expected.encode()


@given(values, values)
def test_bytes_are_equal_exactly_if_the_values_are(first: Any, second: Any) -> None:
    assert (canonical.encode(first) == canonical.encode(second)) == (identity(first) == identity(second))


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda value: value,
        lambda value: [value],
        lambda value: (value,),
        lambda value: [value] * 9,
        lambda value: {"a": value},
        lambda value: {1: value},
    ],
    ids=["bare", "list", "tuple", "long list", "dict", "odd dict"],
)
def test_lookalikes_have_different_bytes(wrapped: Any) -> None:
    encoded = [canonical.encode(wrapped(value)) for value in LOOKALIKES]
    assert len(set(encoded)) == len(LOOKALIKES)


def test_nans_are_one_value() -> None:
    other = float("nan")
    assert canonical.encode([other, -other]) == canonical.encode([float("nan")] * 2)
    assert canonical.encode({other}) == b'{"$set":[{"$float":"nan"}]}'


@given(
    st.one_of(
        st.dictionaries(hashables, st.integers(), max_size=12),
        st.dictionaries(st.text(max_size=3), st.integers(0, 9), min_size=8, max_size=12),
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_insertion_does_not_matter(value: dict[Any, int], shuffler: random.Random) -> None:
    items = list(value.items())
    shuffler.shuffle(items)
    assert canonical.encode(dict(items)) == canonical.encode(value)
    assert canonical.encode(set(dict(items))) == canonical.encode(set(value))
    assert canonical.encode([dict(items)] * 9) == canonical.encode([value] * 9)


# --- strictness -----------------------------------------------------------------------------------------------------


def check_strict(data: bytes) -> None:
    """Bytes are either refused, or the canonical form of the value they give."""
    try:
        value = canonical.decode(data)
    except NotCanonical:
        return
    assert canonical.encode(value) == data


@given(values, st.data())
def test_bytes_changed_a_little_are_refused_or_another_value(value: Any, draw: st.DataObject) -> None:
    data = bytearray(canonical.encode(value))
    for _ in range(draw.draw(st.integers(1, 3), label="changes")):
        start = draw.draw(st.integers(0, len(data)), label="start")
        stop = draw.draw(st.integers(start, min(start + 2, len(data))), label="stop")
        piece = draw.draw(
            st.sampled_from([b"", b" ", b"0", b"-", b".", b"e", b'"', b"[", b"]", b"{", b"}", b",", b":"])
        )
        data[start:stop] = piece
    check_strict(bytes(data))


@given(st.binary(max_size=30))
def test_any_bytes_are_refused_or_canonical(data: bytes) -> None:
    check_strict(data)


@given(st.text('[]{}",:$0123456789.-+eE\\udtruefalsnint ', max_size=40))
def test_any_text_of_json_is_refused_or_canonical(text: str) -> None:
    check_strict(text.encode())


TAGS = ["$int", "$float", "$complex", "$str", "$bytes", "$bytearray", "$tuple", "$set", "$frozenset", "$dict", "$x"]
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.sampled_from(["nan", "inf", "0x1", "0x20000000000001", "7aCA", "YWI=", "YWI", "", "é", "1.5", "1e999"]),
    ),
    lambda items: st.one_of(
        st.lists(items, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", *TAGS]), items, max_size=3),
        st.tuples(st.sampled_from(TAGS), items).map(lambda pair: {pair[0]: pair[1]}),
        st.tuples(
            st.sampled_from(["$dict", "$complex"]), st.lists(st.lists(items, min_size=2, max_size=2), max_size=3)
        ).map(lambda pair: {pair[0]: pair[1]}),
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_with_tags_is_refused_or_canonical(value: Any) -> None:
    check_strict(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(data, id=what)
        for what, data in {
            "nothing": b"",
            "space before": b" 1",
            "space after": b"1\n",
            "space inside": b"[1, 2]",
            "trailing data": b"1 2",
            "two values": b"[][]",
            "not UTF-8": b'"\xff"',
            "byte order mark": b"\xef\xbb\xbf1",
            "surrogate in UTF-8": b'"\xed\xa0\x80"',
            "surrogate escape": b'"\\ud800"',
            "astral escape": b'"\\ud83d\\ude00"',
            "needless escape": b'"\\u0061"',
            "escaped slash": b'"\\/"',
            "long escape": b'"\\u000a"',
            "upper-case escape": b'"\\u001F"',
            "raw control character": b'"\x01"',
            "negative zero": b"-0",
            "leading zero": b"01",
            "float too large": b"1e999",
            "float not shortest": b"1.50",
            "float with many digits": b"0.1000000000000000055511151231257827",
            "float in other notation": b"1E5",
            "float with exponent for none": b"1e2",
            "NaN": b"NaN",
            "Infinity": b"[Infinity]",
            "-Infinity": b"-Infinity",
            "int beyond 2**53": b"9007199254740993",
            "int of 400 digits": b"1" * 400,
            "int of 5000 digits": b"1" * 5000,
            "many digits in a string beside a large int": b'["00000000000000000000",11111111111111111111]',
            "small int with a tag": b'{"$int":"0x5"}',
            "int without prefix": b'{"$int":"20000000000001"}',
            "int in capitals": b'{"$int":"0X20000000000001"}',
            "int with underscore": b'{"$int":"0x2000_0000000001"}',
            "int as number in a tag": b'{"$int":9007199254740993}',
            "finite float with a tag": b'{"$float":"1.5"}',
            "float of an int": b'{"$float":1}',
            "float of a huge int": b'{"$float":{"$int":"0x' + b"f" * 400 + b'"}}',
            "complex of ints": b'{"$complex":[1,2]}',
            "complex of three": b'{"$complex":[1.0,2.0,3.0]}',
            "complex of text": b'{"$complex":["1j"]}',
            "str that needs no tag": b'{"$str":"YWI="}',
            "str of no UTF-8": b'{"$str":"/w=="}',
            "base64 without padding": b'{"$bytes":"YWI"}',
            "base64 with garbage": b'{"$bytes":"Y W I ="}',
            "base64 with spare bits": b'{"$bytes":"YWJ="}',
            "base64 beyond ASCII": '{"$bytes":"é"}'.encode(),
            "bytes of a list": b'{"$bytes":[1]}',
            "tuple of text": b'{"$tuple":"ab"}',
            "tuple of a number": b'{"$tuple":1}',
            "set in wrong order": b'{"$set":[2,1]}',
            "set with a duplicate": b'{"$set":[1,1]}',
            "set of equal keys": b'{"$set":[1,1.0]}',
            "set of NaNs": b'{"$set":[{"$float":"nan"},{"$float":"nan"}]}',
            "set of lists": b'{"$set":[[1]]}',
            "dict of a list": b'{"$dict":[[[1],2]]}',
            "dict that is an object": b'{"$dict":[["a",1]]}',
            "dict in wrong order": b'{"$dict":[[2,1],[1,2]]}',
            "dict with a duplicate": b'{"$dict":[[1,1],[1,2]]}',
            "dict of equal keys": b'{"$dict":[[1,1],[true,2]]}',
            "dict of no pairs": b'{"$dict":[1]}',
            "dict of triples": b'{"$dict":[[1,2,3]]}',
            "object key with $": b'{"$a":1,"b":2}',
            "unknown tag": b'{"$a":1}',
            "two tags": b'{"$set":[],"$tuple":[]}',
            "duplicate object key": b'{"a":1,"a":1}',
            "object in wrong order": b'{"b":1,"a":2}',
            "nested deep": b"[" * 101 + b"]" * 101,
            "nested very deep": b"[" * 100_000 + b"]" * 100_000,
            "opened very deep": b'{"$tuple":[' * 100_000,
            "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
        }.items()
    ],
)
def test_bytes_that_are_not_canonical_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        canonical.decode(data)


def test_a_long_number_is_refused_unread_whatever_the_interpreter_would_read() -> None:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        with pytest.raises(NotCanonical, match="as a number"):
            canonical.decode(b"[" + b"7" * 1_000_000 + b"]")
    finally:
        sys.set_int_max_str_digits(limit)


def test_containers_may_nest_to_the_limit() -> None:
    for opening, closing in ((b"[", b"]"), (b'{"$tuple":[', b"]}"), (b'{"a":', b"}")):
        inner = b"" if opening == b"[" else b"1"
        deepest = opening * canonical.MAX_DEPTH + inner + closing * canonical.MAX_DEPTH
        assert canonical.encode(canonical.decode(deepest)) == deepest
        with pytest.raises(NotCanonical):
            canonical.decode(b"[" + deepest + b"]")


def test_keys_made_to_collide_are_refused_at_once() -> None:
    colliding = set(itertools.product((-1, -2), repeat=10))  # hash(-1) == hash(-2), and so for the tuples of them
    with pytest.raises(ValueNotEncodable, match="have the same hash"):
        canonical.encode(colliding)
    with pytest.raises(ValueNotEncodable, match="have the same hash"):
        canonical.encode(dict.fromkeys(colliding))
    items = b",".join(sorted(canonical.encode(key) for key in colliding))
    with pytest.raises(NotCanonical, match="have the same hash"):
        canonical.decode(b'{"$set":[' + items + b"]}")
    pairs = items.replace(b'{"$tuple"', b'[{"$tuple"').replace(b"]}", b"]},1]")
    with pytest.raises(NotCanonical, match="have the same hash"):
        canonical.decode(b'{"$dict":[' + pairs + b"]}")


# --- other processes, other Pythons ---------------------------------------------------------------------------------

ENCODE_HASHED = """
import hashlib, random
from ec262.domain.values import canonical
words = [f"{i:x}" for i in range(500)]
sets = [set(words), frozenset(map(str.encode, words)), {word: {word, word + "x", None, (word,)} for word in words}]
data = canonical.encode([*sets, {(word, None): 1 for word in words}])
print(next(iter(sets[0])), hashlib.sha256(data).hexdigest())
"""


def _run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


def test_other_hash_seeds_give_the_same_bytes() -> None:
    printed = set()
    for seed in ("0", "1", "2", "random"):
        done = _run(sys.executable, "-c", ENCODE_HASHED, PYTHONHASHSEED=seed, PYTHONPATH=str(ROOT / "src"))
        assert done.returncode == 0, done.stderr
        printed.add(tuple(done.stdout.split()))
    assert len({digest for _, digest in printed}) == 1
    assert len({first for first, _ in printed}) > 1, "the hash seeds made no difference: the test shows nothing"


def _interpreter(version: str) -> str | None:
    """Return the path of an interpreter of a minor version, from PATH or from pyenv."""
    candidates = [shutil.which(f"python{version}")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    with suppress(OSError):  # another user's folder
        candidates += [str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]
    for candidate in filter(None, candidates):
        # A shim may be on the PATH without an interpreter behind it.
        done = _run(candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
        if done.stdout.strip() == version:
            return candidate
    return None


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_python_writes_the_golden_bytes(version: str) -> None:
    interpreter = _interpreter(version)
    if interpreter is None:
        pytest.skip(f"no Python {version} on this machine")
    done = _run(interpreter, "-B", str(GOLDEN / "check_canonical.py"), str(ROOT / "src"))
    assert done.returncode == 0, done.stdout + done.stderr
