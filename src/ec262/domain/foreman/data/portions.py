"""Decoding of a task's outcome in portions, since decoded pairs take many times their canonical bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ec262.domain.errors import NotCanonical
from ec262.domain.values.plain_pairs import read_plain_pairs
from ec262.domain.work.outcome import Failure, Pair, Pairs, Stopped, decode_other_outcome, decode_outcome

PORTION_BYTES = 1 << 20
"""The approximate number of bytes that are decoded at a time."""

_HEAD, _TAIL = b'["pairs",[', b"]]"
_BETWEEN = b"],["


def read_ending(data: bytes) -> Failure | Stopped | None:
    """Return how a task without pairs ended, or None for an outcome with pairs. Raises NotCanonical if the data is not
    an outcome."""
    if data.startswith(_HEAD):
        return None
    outcome = decode_outcome(data)
    return None if isinstance(outcome, Pairs) else outcome


def portions(data: bytes, portion_bytes: int = PORTION_BYTES) -> Iterator[Sequence[Pair]]:
    """Yield the pairs of an outcome in order, portion by portion.

    Raises NotCanonical at the first place where the data is not the canonical form of an outcome with pairs.
    """
    if len(data) <= portion_bytes:
        yield _pairs_of(data)
        return
    if not data.startswith(_HEAD) or not data.endswith(_TAIL):
        raise NotCanonical("not an outcome: expected pairs")
    start, end = len(_HEAD), len(data) - len(_TAIL)
    size = portion_bytes
    while start < end:
        stop = _row_end(data, start + size, end)
        try:
            pairs = _pairs_of(b"".join((_HEAD, data[start:stop], _TAIL)))
        except NotCanonical:
            # The supposed end of a row was inside of one. Doubling the size keeps the total time linear.
            if stop == end:
                raise
            size *= 2
            continue
        yield pairs
        start, size = stop + 1, portion_bytes


def _row_end(data: bytes, near: int, end: int) -> int:
    """Return the first position at or after ``near`` that looks like the end of a row."""
    place = data.find(_BETWEEN, near, end)
    return end if place < 0 else place + 1


def _pairs_of(data: bytes) -> Sequence[Pair]:
    plain = read_plain_pairs(data)
    if plain is not None:
        return plain
    outcome = decode_other_outcome(data)
    if not isinstance(outcome, Pairs):
        raise NotCanonical("not an outcome: expected pairs")
    return outcome.pairs
