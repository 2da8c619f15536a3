"""Whatever does not fit in memory: the same groups, rows and results as if it did."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ec262.adapters.memory.spill import MemorySpill
from ec262.domain.errors import JobDefinitionError, KeyCollision, KeyNotHashable, NotCanonical, SpillFailed
from ec262.domain.foreman.data.groups import Fold, Groups, GroupTooLarge, all_values, last_value
from ec262.domain.foreman.data.memory_budget import MemoryBudget
from ec262.domain.foreman.data.row import MAX_ROW_BYTES
from ec262.domain.foreman.data.shuffle import ResultLines, Shuffle, merge_results, shuffle
from ec262.domain.values import canonical

Pair = tuple[Any, Any]

keys = st.one_of(
    st.integers(0, 4),
    st.sampled_from(["", "a", "b", "line\nend", "x" * 40]),
    st.tuples(st.integers(0, 1), st.sampled_from("xy")),
    st.none(),
    st.floats(0.25, 0.75),
)
values = st.one_of(st.integers(0, 9), st.text(max_size=5), st.just("y" * 200))
pairs = st.lists(st.tuples(keys, values), max_size=12)
tasks = st.lists(st.lists(pairs, min_size=1, max_size=3), max_size=6)
"""The portions of several tasks."""

names = st.integers(0, 300).map(b"%03d".__mod__)
tables = st.lists(st.tuples(names, st.sampled_from([b"1", b"2", b"3" * 30])), max_size=30).map(
    lambda rows: ([name for name, _ in rows], [value for _, value in rows])
)
sizes = st.integers(0, 2000)


class Spilled:
    """Makes spills, and counts them."""

    def __init__(self) -> None:
        self.made: list[MemorySpill] = []

    def __call__(self) -> MemorySpill:
        self.made.append(MemorySpill())
        return self.made[-1]


def grouped(groups: Groups, *, drain: bool = True) -> list[tuple[bytes, bytes]]:
    found = [row for table in groups.tables(drain=drain) for row in zip(*table, strict=True)]
    assert [name for name, _ in found] == sorted({name for name, _ in found})
    return found


@pytest.mark.parametrize("fold", [all_values, last_value])
@given(tasks=st.lists(st.lists(tables, max_size=3), max_size=8), memory=sizes, load=sizes, order=st.randoms())
def test_groups_are_the_same_whatever_memory_there_is(
    fold: Fold, tasks: list[list[Any]], memory: int, load: int, order: Any
) -> None:
    expected = fold(itertools.chain.from_iterable(tasks))
    groups = Groups(fold, Spilled(), memory_bytes=memory, load_bytes=load)
    arrived = list(enumerate(tasks))
    order.shuffle(arrived)
    for task, portions in arrived:
        groups.add(task, portions)
    assert grouped(groups, drain=False) == sorted(expected.items())
    assert grouped(groups) == sorted(expected.items())
    assert grouped(groups) == []


def test_data_beyond_memory_are_spilled_by_range_and_removed_at_the_end() -> None:
    spilled = Spilled()
    groups = Groups(all_values, spilled, memory_bytes=10_000, load_bytes=1000)
    numbers = [b"%05d" % number for number in range(1000)]
    for task in range(20):
        groups.add(task, [(numbers, [b"%d" % task] * len(numbers))])
    value = b",".join(b"%d" % task for task in range(20))
    assert grouped(groups) == [(name, value) for name in numbers]
    assert spilled.made
    assert all(spill.read(0, 1) == b"" for spill in spilled.made)


def test_a_key_with_more_than_all_others_has_a_range_of_its_own() -> None:
    groups = Groups(all_values, Spilled(), memory_bytes=500, load_bytes=100, most_bytes=10**6)
    for task in range(50):
        groups.add(task, [([b"a", b"huge", b"huger"], [b"1", b"2" * 100, b"3"])])
    assert dict(grouped(groups)) == {
        b"a": b",".join([b"1"] * 50),
        b"huge": b",".join([b"2" * 100] * 50),
        b"huger": b",".join([b"3"] * 50),
    }


def test_a_key_with_more_than_is_ever_sent_is_not_even_loaded() -> None:
    groups = Groups(all_values, Spilled(), memory_bytes=500, load_bytes=100, most_bytes=3000)
    for task in range(50):
        groups.add(task, [([b"a", b"huge"], [b"1", b"2" * 100])])
    with pytest.raises(GroupTooLarge) as caught:
        grouped(groups)
    assert (caught.value.name, caught.value.size) == (b"huge", 50 * 105)


def test_nothing_of_a_task_is_kept_if_one_of_its_portions_is_wrong() -> None:
    def portions() -> Iterable[Any]:
        yield [b"a"], [b"1"]
        raise NotCanonical("wrong")

    groups = Groups(all_values, Spilled(), memory_bytes=0, load_bytes=0)
    with pytest.raises(NotCanonical):
        groups.add(0, portions())
    groups.add(0, [([b"a"], [b"2"])])
    assert grouped(groups) == [(b"a", b"2")]


# --- rows and results -------------------------------------------------------------------------------------------------


def rows_of(whole: Shuffle) -> list[Any]:
    rows = whole.rows()
    pieces = range(len(rows.sizes))
    return [row for piece in pieces for row in canonical.decode(rows.payload(range(piece, piece + 1)))]


@given(tasks=tasks, budget=st.integers(1, 5000), order=st.randoms())
@example(tasks=[[[("a", 1)]], [[("a", 2), ("b", 1)]]], budget=1, order=None)
def test_rows_are_those_of_memory_alone(tasks: list[list[list[Pair]]], budget: int, order: Any) -> None:
    spilled = Shuffle(Spilled(), MemoryBudget(budget))
    arrived = list(enumerate(tasks))
    if order is not None:
        order.shuffle(arrived)
    for task, portions in arrived:
        spilled.add(task, portions)
    expected = shuffle(list(itertools.chain.from_iterable(portions)) for portions in tasks)
    assert rows_of(spilled) == [canonical.decode(row.data) for row in expected]


@given(tasks=tasks, budget=st.integers(1, 5000), order=st.randoms())
def test_lines_are_the_merged_result(tasks: list[list[list[Pair]]], budget: int, order: Any) -> None:
    lines = ResultLines(Spilled(), MemoryBudget(budget))
    arrived = list(enumerate(tasks))
    order.shuffle(arrived)
    for task, portions in arrived:
        lines.add(task, portions)
    merged = merge_results(list(itertools.chain.from_iterable(portions)) for portions in tasks)
    lines.check()
    assert list(lines.lines()) == [canonical.encode(list(pair)) + b"\n" for pair in merged.items()]


def lined(outputs: Iterable[Iterable[Pair]], budget: int = 1) -> list[bytes]:
    lines = ResultLines(Spilled(), MemoryBudget(budget))
    for task, pairs in enumerate(outputs):
        lines.add(task, [list(pairs)])
    lines.check()
    return list(lines.lines())


def spooled(outputs: Iterable[Iterable[Pair]], budget: int = 1) -> list[Any]:
    whole = Shuffle(Spilled(), MemoryBudget(budget))
    for task, pairs in enumerate(outputs):
        whole.add(task, [list(pairs)])
    return rows_of(whole)


Collect = Callable[[Iterable[Iterable[Pair]]], list[Any]]


@pytest.mark.parametrize("collect", [lined, spooled])
@pytest.mark.parametrize(
    ("first", "second"),
    [(1, True), (1, 1.0), (0.0, -0.0), (2**60, 2.0**60), (("a", 1), ("a", True)), (frozenset({1}), frozenset({1.0}))],
)
def test_equal_keys_collide_however_far_apart_they_are(collect: Collect, first: Any, second: Any) -> None:
    outputs = [[(first, "x")], [(f"key {number}", "y" * 50) for number in range(50)], [(second, "z")]]
    with pytest.raises(KeyCollision):
        collect(outputs)


@pytest.mark.parametrize("collect", [lined, spooled])
def test_keys_made_to_collide_are_refused_at_once(collect: Collect) -> None:
    with pytest.raises(JobDefinitionError, match="same hash"):
        collect([[(key, 1) for key in itertools.product((-1, -2), repeat=10)]])
    with pytest.raises(JobDefinitionError, match="same hash"):
        collect([[((2**61 - 1) * number, 1) for number in range(1, 1100)]])


@pytest.mark.parametrize("collect", [lined, spooled])
@pytest.mark.parametrize("key", [[1], {}, {1}, bytearray(b"a"), (1, [2])])
def test_keys_that_no_dict_takes_are_the_jobs_mistake(collect: Collect, key: Any) -> None:
    with pytest.raises(KeyNotHashable, match=r"cannot be a key.*hashable"):
        collect([[("fine", 1)], [(key, 1)]])


@pytest.mark.parametrize("budget", [1, 1 << 40])
def test_a_row_that_is_too_large_is_reported_with_its_key(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ec262.domain.foreman.data.shuffle.MAX_ROW_BYTES", 5000)
    with pytest.raises(JobDefinitionError, match='yielded at least 0 MiB for the key "huge"'):
        spooled([[("a", 1), ("huge", "x" * 1000)]] * 9, budget)
    assert MAX_ROW_BYTES > 5000


@pytest.mark.parametrize("numbered", [False, True])
def test_a_key_with_too_many_large_values_ends_the_job_before_all_are_there(*, numbered: bool) -> None:
    whole = Shuffle(Spilled(), MemoryBudget(1 << 30), numbered=numbered)
    key: Any = (7, "huge") if numbered else "huge"
    large = [[(key, "x" * (MAX_ROW_BYTES // 4))]]
    for task in range(3):
        whole.add(task, large)
    with pytest.raises(JobDefinitionError, match='the mapper yielded at least 128 MiB for the key "huge"'):
        whole.add(3, large)
    whole.close()


# --- partitioned jobs -------------------------------------------------------------------------------------------------


@given(tasks=st.lists(st.lists(st.integers(-5, 5), max_size=9), max_size=4), budget=st.integers(1, 3000))
def test_numbered_keys_come_by_their_numbers_and_a_number_is_never_cut(tasks: list[list[int]], budget: int) -> None:
    whole = Shuffle(Spilled(), MemoryBudget(budget), numbered=True)
    for task, found in enumerate(tasks):
        whole.add(task, [[((-(key // 3), key), task) for key in found]])
    rows = whole.rows()
    pieces = [canonical.decode(rows.payload(range(piece, piece + 1))) for piece in range(len(rows.sizes))]
    numbers = [{-(key // 3) for key, _ in piece} for piece in pieces]
    assert all(len(number) == 1 for number in numbers)
    assert [min(number) for number in numbers] == sorted({-(key // 3) for found in tasks for key in found})
    assert {key: values for piece in pieces for key, values in piece} == {
        key: [task for task, found in enumerate(tasks) for one in found if one == key]
        for key in set(itertools.chain.from_iterable(tasks))
    }


@pytest.mark.parametrize("key", ["k", 1, None, (1, 2)])
def test_a_key_with_two_numbers_is_the_partitioners_mistake(key: Any) -> None:
    for outputs in ([[((1, key), "v")], [((2, key), "v")]], [[((1, key), "v"), ((2, key), "v")]]):
        with pytest.raises(JobDefinitionError, match=r"the partitioner gave the key .* depend on the key alone"):
            shuffle(outputs, numbered=True)


@pytest.mark.parametrize("key", ["k", ("n", "k"), (True, "k"), (1.0, "k"), (1, 2, 3), (2**63, "k"), [1, "k"]])
def test_keys_without_numbers_are_refused_in_a_partitioned_job(key: Any) -> None:
    with pytest.raises(NotCanonical, match="no partitioner's number"):
        shuffle([[(key, 1)]], numbered=True)


def test_the_whole_range_of_numbers_is_in_order() -> None:
    numbers = [-(2**63), -1, 0, 1, 2**63 - 1]
    rows = shuffle([[((number, str(number)), None) for number in reversed(numbers)]], numbered=True)
    assert [canonical.decode(row.data)[0] for row in rows] == [str(number) for number in numbers]


def test_a_spill_that_fails_ends_it() -> None:
    class Full(MemorySpill):
        def append(self, data: bytes) -> int:
            raise SpillFailed("no room")

    whole = Shuffle(Full, MemoryBudget(1))
    with pytest.raises(SpillFailed, match="no room"):
        whole.add(0, [[("a", 1)]])
    whole.close()
    whole.close()
