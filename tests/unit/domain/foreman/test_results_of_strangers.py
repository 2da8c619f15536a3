"""What a stranger's result takes to be read grows with its size, whatever is nested in it how deep: counted, not timed.

A step is a call of a Python or C function, or a byte of canonical text that is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ec262.domain.foreman.data.portions import portions
from ec262.domain.foreman.data.shuffle import ResultLines, Shuffle
from ec262.domain.foreman.job.diagnosis import diagnose
from ec262.domain.values import canonical
from ec262.domain.values.canonical import MAX_DEPTH
from ec262.domain.work.outcome import decode_outcome
from tests.unit.domain.test_hot_paths import calls_of

ITEMS = 200
SHALLOW, DEEP = 5, MAX_DEPTH - 10

Shape = Callable[[int, int, int], bytes]
"""Makes canonical bytes of a size and a depth, which differ in one place from those with another last number."""


def outcome(value: bytes) -> bytes:
    return b'["pairs",[["key",[' + value + b"]]]]"


def numbers(items: int, last: int) -> bytes:
    return b",".join([b"1"] * (items - 1) + [b"%d" % last])


def list_at_the_bottom(items: int, depth: int, last: int) -> bytes:
    return b"[" * depth + numbers(items, last) + b"]" * depth


def tuple_at_the_bottom(items: int, depth: int, last: int) -> bytes:
    return b'{"$tuple":[' * depth + numbers(items, last) + b"]}" * depth


def set_at_the_bottom(items: int, depth: int, last: int) -> bytes:
    members = sorted(b'"%d"' % number for number in [*range(items, 2 * items), last])
    return b'{"$frozenset":[' * depth + b",".join(members) + b"]}" * depth


def dict_at_the_bottom(items: int, depth: int, last: int) -> bytes:
    pairs = b",".join(b'"%06d":1' % number for number in range(items))
    return b'{"a":' * depth + b"{" + pairs + b',"z":%d}' % last + b"}" * depth


def dict_of_other_keys_at_the_bottom(items: int, depth: int, last: int) -> bytes:
    pairs = b",".join(sorted(b"[%d,1]" % number for number in range(1000, 1000 + items)))
    return b'{"$dict":[[1,' * depth + b'{"$dict":[' + pairs + b",[9999,%d]]}" % last + b"]]}" * depth


def items_at_every_level(items: int, depth: int, last: int) -> bytes:
    each = b"1," * (items // depth)
    return (b"[" + each) * depth + b"%d" % last + b"]" * depth


def many_deep_lists(items: int, depth: int, last: int) -> bytes:
    count = max(2, 10 * items // depth)
    return b",".join([b"[" * depth + b"1" + b"]" * depth] * (count - 1) + [b"[" * depth + b"%d" % last + b"]" * depth])


SHAPES: list[Shape] = [
    list_at_the_bottom,
    tuple_at_the_bottom,
    set_at_the_bottom,
    dict_at_the_bottom,
    dict_of_other_keys_at_the_bottom,
    items_at_every_level,
    many_deep_lists,
]


def compare(first: bytes, second: bytes) -> Callable[[], object]:
    results = {"a": decode_outcome(first), "b": decode_outcome(second)}
    return lambda: diagnose(results)


def read(first: bytes, _second: bytes) -> Callable[[], object]:
    return lambda: decode_outcome(first)


def group(first: bytes, second: bytes) -> Callable[[], object]:
    def grouped() -> object:
        shuffle = Shuffle()
        shuffle.add(0, portions(first))
        shuffle.add(1, portions(second))
        return shuffle.rows()

    return grouped


def print_all(first: bytes, second: bytes) -> Callable[[], object]:
    def printed() -> object:
        lines = ResultLines()
        lines.add(0, portions(first))
        lines.add(1, portions(second))
        lines.check()
        return list(lines.lines())

    return printed


READERS = [read, compare, group, print_all]


@pytest.fixture
def steps_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], int]:
    """Return what counts the steps of a call."""
    made = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any) -> Any:
            nonlocal made
            text = function(*arguments)
            made += len(text or "")
            return text

        return count

    for name in ("canonical_text", "scalar_lines", "tree_text"):
        monkeypatch.setattr(canonical, name, counted(getattr(canonical, name)))

    def steps(function: Callable[[], object]) -> int:
        nonlocal made
        calls = calls_of(function)  # which calls it twice
        total, made = calls + made // 2, 0
        return total

    return steps


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_steps_grow_with_the_size_and_not_with_the_depth(
    shape: Shape,
    reader: Callable[[bytes, bytes], Callable[[], object]],
    steps_of: Callable[[Callable[[], object]], int],
) -> None:
    def steps(items: int, depth: int) -> float:
        both = [outcome(shape(items, depth, last)) for last in (2, 3)]
        return steps_of(reader(*both)) / sum(map(len, both))

    usual = steps(ITEMS, SHALLOW)
    assert steps(4 * ITEMS, SHALLOW) <= 1.3 * usual
    assert steps(4 * ITEMS, DEEP) <= 2.5 * usual + 2
