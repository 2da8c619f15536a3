"""Rows, and how they are cut into partitions, one for each task."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

from ec262.domain.foreman.data.row import Row
from ec262.domain.values.canonical import encode_list
from ec262.domain.values.pairs import encode_pair


def encode_row(key: Any, value: Any) -> Row:
    """Return a row of input. Raises ValueNotEncodable, which names the key and the type."""
    key_bytes, value_bytes = encode_pair(key, value)
    return Row(key=key_bytes, data=encode_list([key_bytes, value_bytes]))


def rows_payload(rows: Iterable[Row]) -> bytes:
    """Return the canonical bytes of the rows: a list of [key, value] lists."""
    return encode_list(row.data for row in rows)


def split(sizes: Sequence[int], parts: int) -> list[range]:
    """Cut rows of these sizes (bytes) into ``parts`` partitions, each a range of their indices.

    Every row is in exactly one partition, rows keep their order, and no partition is empty. The weight of a row is its
    size plus one, and no partition weighs more than an equal share plus the heaviest row. ``parts`` is from 1 to the
    number of rows.
    """
    if not 1 <= parts <= len(sizes):
        raise ValueError(f"{len(sizes)} rows cannot be cut into {parts} partitions")
    weights = [0, *accumulate(size + 1 for size in sizes)]
    cuts = [0]
    for part in range(1, parts):
        cut = _nearest(weights, weights[-1] * part // parts)
        rows_to_keep = parts - part
        cuts.append(min(max(cut, cuts[-1] + 1), len(sizes) - rows_to_keep))
    return [range(start, stop) for start, stop in pairwise([*cuts, len(sizes)])]


def _nearest(ascending: Sequence[int], target: int) -> int:
    """Return the index of the number nearest to ``target``, which is between the first and the last."""
    after = bisect_left(ascending, target)
    before = max(after - 1, 0)
    return before if target - ascending[before] < ascending[after] - target else after
