"""Rows in memory and out of it, and the places where they can be cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec262.adapters.memory.spill import MemorySpill
from ec262.domain.foreman.data.cuts import Cuts
from ec262.domain.foreman.data.partition import encode_row, split
from ec262.domain.foreman.data.row_spool import RowSpool, held
from ec262.domain.values import canonical

sizes = st.lists(st.one_of(st.integers(1, 9), st.integers(1, 10**6)), min_size=1, max_size=300)


@given(sizes, st.integers(1, 40))
def test_cuts_stay_few_and_lose_nothing(sizes: list[int], most: int) -> None:
    cuts = Cuts(0, most=most)
    for end, size in enumerate(sizes, 1):
        cuts.add(size, end)
    assert len(cuts.sizes) <= most
    assert sum(cuts.sizes) == sum(sizes)
    places = [cuts.span(range(piece, piece + 1)) for piece in range(len(cuts.sizes))]
    assert [place for span in places for place in range(*span)] == list(range(len(sizes)))
    assert [sum(sizes[start:stop]) for start, stop in places] == list(cuts.sizes)
    if len(sizes) <= most:
        assert list(cuts.sizes) == sizes
    else:  # no piece is heavier than what many pieces need, but for a single heavy one
        grain = 4 * sum(sizes) / most + 1
        assert all(size <= grain or stop - start == 1 for size, (start, stop) in zip(cuts.sizes, places, strict=True))


@given(st.lists(st.text(max_size=30), min_size=1, max_size=60), st.integers(0, 3000), st.integers(1, 9))
def test_rows_are_the_same_in_memory_and_out_of_it(texts: list[str], memory_bytes: int, parts: int) -> None:
    rows = [encode_row(number, text) for number, text in enumerate(texts)]
    spools = [held(rows), RowSpool(MemorySpill, memory_bytes=memory_bytes)]
    for row in rows:
        spools[1].append(row.data)
    for spool in spools:
        assert spool.count == len(rows)
        partitions = split(spool.sizes, min(parts, len(spool.sizes)))
        found = [canonical.decode(spool.payload(pieces)) for pieces in partitions]
        assert list(itertools.chain.from_iterable(found)) == [list(row) for row in enumerate(texts)]
        spool.close()
        spool.close()


def test_data_beyond_memory_are_spilled() -> None:
    made: list[MemorySpill] = []

    def spills() -> MemorySpill:
        made.append(MemorySpill())
        return made[-1]

    spool = RowSpool(spills, memory_bytes=1000)
    for number in range(10_000):
        spool.append(b"[%d,0]" % number)
    assert canonical.decode(spool.payload(range(len(spool.sizes)))) == [[number, 0] for number in range(10_000)]
    assert len(made) == 1
    spool.close()
    assert made[0].read(0, 1) == b""


def test_rows_that_belong_together_are_not_cut_apart() -> None:
    spool = RowSpool()
    for number in range(12):
        spool.append(b"[%d,0]" % number, with_last=number % 4 > 0)
    assert len(spool.sizes) == 3
    assert canonical.decode(spool.payload(range(1, 2))) == [[number, 0] for number in range(4, 8)]


@pytest.mark.parametrize("write_bytes", [1, 13, 1000])
def test_rows_are_put_away_in_portions(write_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ec262.domain.foreman.data.row_spool.WRITE_BYTES", write_bytes)
    spool = RowSpool(MemorySpill, memory_bytes=400)
    for number in range(100):
        spool.append(b"[%d,0]" % number)
    assert canonical.decode(spool.payload(range(len(spool.sizes)))) == [[number, 0] for number in range(100)]
