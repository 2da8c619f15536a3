"""Tasks sized by time: small ones first, then about a second each, and never more than the purse can bear."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec262.domain.foreman.data.sizing import (
    EARLY_GROWTH,
    FIRST_PIECES,
    GROWTH,
    LEAST_S,
    RESULT_SHARE,
    TARGET_S,
    TimedCut,
)
from ec262.domain.foreman.job.plan import plan_job

MIB = 1 << 20


def cut(
    sizes: Sequence[int],
    *,
    at_once: int = 1,
    most_tasks: int = 10_000,
    most_bytes: int = 16 * MIB,
    hold: bool = False,
) -> TimedCut:
    return TimedCut(
        sizes,
        at_once=at_once,
        most_tasks=most_tasks,
        most_bytes=most_bytes,
        most_result_bytes=64 * MIB,
        hold=hold,
    )


def play(
    timed: TimedCut, took: Callable[[range], float], *, at_once: int = 1, result_bytes: Callable[[range], int] = len
) -> list[range]:
    """Have so many tasks computed at a time, first in first out; return their pieces."""
    to_come = timed.begin()
    done: list[range] = []
    under_way: deque[range] = deque()
    while to_come or under_way:
        while to_come and len(under_way) < at_once:
            pieces, more = timed.next()
            to_come += more - 1
            under_way.append(pieces)
        done.append(under_way.popleft())
        for _ in range(3):
            timed.took(done[-1], took(done[-1]))
        timed.yielded(done[-1], result_bytes(done[-1]))
        timed.computed(done[-1])
    return done


def test_even_rows_make_tasks_of_a_second_after_a_small_one_and_smaller_ones_at_the_end() -> None:
    done = play(cut([10] * 20_000), lambda pieces: len(pieces) / 100)
    times = [len(pieces) / 100 for pieces in done]
    assert times[0] < TARGET_S
    assert times[1:-4] == pytest.approx([TARGET_S] * (len(times) - 5), rel=0.05)
    assert all(LEAST_S / 2 < seconds < 1.5 * TARGET_S for seconds in times[1:])


def test_quick_rows_are_done_in_one_more_task() -> None:
    assert play(cut([10] * 2000), lambda pieces: 0.004 + len(pieces) * 1e-5) == [range(62), range(62, 2000)]


def test_slow_rows_are_sent_one_by_one_as_soon_as_that_is_known() -> None:
    done = play(cut([10] * 100), lambda pieces: 30.0 * len(pieces))
    assert set(map(len, done[1:])) == {1}


def test_a_first_task_is_small_however_many_rows_there_are() -> None:
    timed = cut([10] * 1_000_000, most_tasks=1_000_000)
    timed.begin()
    assert timed.next()[0] == range(FIRST_PIECES)


def test_tasks_grow_by_a_limited_factor_at_once() -> None:
    timed = cut([10] * 1_000_000, most_tasks=1_000_000)
    timed.begin()
    first, _ = timed.next()
    timed.took(first, 0.0)
    timed.yielded(first, 1)
    assert len(timed.next()[0]) == GROWTH * FIRST_PIECES


def test_tasks_grow_little_until_a_result_is_there() -> None:
    timed = cut([10] * 1_000_000, most_tasks=1_000_000)
    timed.begin()
    first, _ = timed.next()
    timed.took(first, 0.0)
    assert len(timed.next()[0]) == EARLY_GROWTH * FIRST_PIECES
    timed.yielded(first, 0)
    assert len(timed.next()[0]) == GROWTH * FIRST_PIECES


def test_rows_that_yield_much_make_small_tasks() -> None:
    done = play(cut([1] * 200), lambda _pieces: 0.001, result_bytes=lambda pieces: len(pieces) * MIB)
    assert 12 <= max(map(len, done)) <= 1.5 * 64 // RESULT_SHARE, "the last one may take the crumbs"
    assert sum(map(len, done)) == 200


def test_the_rows_that_yielded_most_count() -> None:
    def result_bytes(pieces: range) -> int:
        return sum(MIB if piece < 10 else 1 for piece in pieces)

    done = play(cut([1] * 400), lambda _pieces: 0.001, result_bytes=result_bytes)
    assert max(map(len, done)) <= 2 * 64 // RESULT_SHARE


def test_times_are_forgotten_when_rows_become_harder() -> None:
    done = play(cut([10] * 5000), lambda pieces: sum(0.001 if piece < 2500 else 0.1 for piece in pieces))
    late = [pieces for pieces in done if pieces.start > 4000]
    assert all(sum(0.1 for _ in pieces) < 2 * TARGET_S for pieces in late)


def test_one_liar_among_three_makes_no_difference() -> None:
    def play_with(lie: float | None) -> list[int]:
        timed = cut([10] * 5000)
        to_come, lengths = timed.begin(), []
        while to_come:
            pieces, more = timed.next()
            to_come += more - 1
            lengths.append(len(pieces))
            for seconds in (len(pieces) / 100, len(pieces) / 100, lie if lie is not None else len(pieces) / 100):
                timed.took(pieces, seconds)
        return lengths

    assert play_with(0.0) == play_with(1e6) == play_with(None)


def test_partitions_keep_below_their_bytes_whatever_is_said() -> None:
    sizes = [MIB] * 200
    done = play(cut(sizes, most_bytes=4 * MIB), lambda _: 0.0)
    assert max(map(len, done)) <= 4


def test_all_workers_have_something_to_do_until_the_end() -> None:
    done = play(cut([10] * 10_000, at_once=10), lambda pieces: len(pieces) / 100, at_once=10)
    assert [len(pieces) / 100 for pieces in done[-10:]] == pytest.approx([LEAST_S] * 10, abs=LEAST_S / 2)


def test_workers_on_one_machine_get_no_smaller_tasks_at_the_end() -> None:
    timed = cut([10] * 5000, most_tasks=1000, most_bytes=MIB, hold=True)
    done = play(timed, lambda pieces: len(pieces) / 100)
    assert all(len(pieces) > 80 for pieces in done[2:-1])


def test_held_pieces_wait_for_those_under_way() -> None:
    timed = cut([10] * 1000, at_once=2, most_tasks=100, most_bytes=MIB, hold=True)
    assert timed.begin() == 4
    assert timed.has_room
    first, _ = timed.next()
    timed.next()
    assert not timed.has_room
    timed.took(first, 1.0)
    timed.computed(first)
    timed.next()
    timed.next()
    timed.next()
    assert not timed.has_room
    assert cut([10] * 10).has_room


def test_it_says_about_how_many_tasks_will_follow() -> None:
    timed = cut([10] * 10_000)
    assert timed.begin() == 2
    assert timed.beyond == 10_000 // FIRST_PIECES - 1
    first, _ = timed.next()
    timed.took(first, len(first) / 100)
    timed.yielded(first, 0)
    assert timed.beyond == pytest.approx(99, abs=2)
    assert play(timed, lambda pieces: len(pieces) / 100)
    assert timed.beyond == 0


rows = st.lists(st.integers(1, 10_000), min_size=1, max_size=200)


@given(rows, st.integers(1, 20), st.integers(1, 300), st.randoms(use_true_random=False))
def test_every_piece_is_cut_once_in_order_whatever_the_times(
    sizes: list[int], at_once: int, most_tasks: int, random: Random
) -> None:
    most_bytes, hold = random.choice([1, 5000, MIB]), random.random() < 0.5
    timed = cut(sizes, at_once=at_once, most_tasks=most_tasks, most_bytes=most_bytes, hold=hold)
    done: list[range] = []
    to_come = timed.begin()
    while to_come:
        pieces, more = timed.next()
        assert len(pieces) >= 1
        to_come += more - 1
        left = len(sizes) - pieces.stop
        assert min(left, 1) <= to_come <= left
        done.append(pieces)
        if random.random() < 0.8:
            timed.took(pieces, random.choice([0.0, 1e-9, random.expovariate(1), 1e9]))
            timed.computed(pieces)
        if random.random() < 0.8:
            timed.yielded(pieces, random.choice([0, 1, MIB, 1 << 40]))
        assert timed.beyond >= 0
    assert [piece for pieces in done for piece in pieces] == list(range(len(sizes)))
    assert len(done) <= most_tasks


@given(rows, st.integers(1, 20), st.integers(10, 1000))
def test_a_plan_leaves_what_it_should_whatever_the_times(sizes: list[int], slots: int, purse: int) -> None:
    plan = plan_job(sizes, slots=slots, purse=purse, replicas=3)
    assert plan.map_tasks <= plan.most_map_tasks <= len(sizes)
    assert plan.most_price <= purse - (plan.spare - plan.replicas) // 2
    given = plan_job(sizes, slots=slots, purse=purse, replicas=3, map_tasks=1)
    assert (given.map_tasks, given.most_map_tasks) == (1, 1)
    assert not given.is_sized(len(sizes))
