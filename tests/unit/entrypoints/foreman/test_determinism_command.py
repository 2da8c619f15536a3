"""Which rows ``--check-determinism`` tries, and how it tells what it found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec262.domain.foreman.job.determinism import PhaseCheck, UnstableRows
from ec262.domain.foreman.job.difference import Difference
from ec262.domain.work.work import Phase
from ec262.entrypoints.foreman.check_determinism import describe, pick
from ec262.entrypoints.foreman.session import CheckOnly, Session


@given(st.integers(0, 200), st.integers(1, 60), st.integers(0, 5))
def test_a_sample_has_the_first_and_last_rows_and_no_duplicates(rows: int, count: int, seed: int) -> None:
    picked = pick(range(rows), count, seed=seed)
    assert len(picked) == min(rows, count)
    assert list(picked) == sorted(set(picked))
    outer = min(rows, count // 3)
    assert list(picked[:outer]) == list(range(outer))
    assert list(picked[len(picked) - outer :]) == list(range(rows - outer, rows))
    assert list(picked) == list(pick(range(rows), count, seed=seed))


def test_another_seed_tries_other_rows() -> None:
    assert pick(range(10_000), 90, seed=1)[30:60] != pick(range(10_000), 90, seed=2)[30:60]


def test_nothing_found_is_a_line_a_phase() -> None:
    checks = [PhaseCheck(phase=Phase.MAP, rows=9, finding=None), PhaseCheck(phase=Phase.REDUCE, rows=4, finding=None)]
    assert describe(checks, 300) == (
        "mapper: 9 of 300 rows computed twice, as if on two different machines: no difference\n"
        "reducer: the 4 keys that they yielded computed twice, as if on two different machines: no difference"
    )


def test_smaller_tasks_are_suggested() -> None:
    check = PhaseCheck(phase=Phase.MAP, rows=9, finding=None, repacked=True)
    assert describe([check], 9) == (
        "mapper: 9 of 9 rows computed twice, as if on two different machines, and once more in smaller tasks: "
        "no difference"
    )


@pytest.mark.parametrize(
    ("phase", "row", "told"),
    [
        (Phase.MAP, "'k'", "for the row with key 'k'"),
        (Phase.MAP, None, "for several rows together"),
        (Phase.REDUCE, "3", "for the key 3"),
        (Phase.REDUCE, None, "for several keys together"),
    ],
)
def test_a_finding_tells_where_what_and_why(phase: Phase, row: str | None, told: str) -> None:
    difference = Difference(where="the value of the key 1", first="2 (int)", second="3 (int)", hint="a hint")
    finding = UnstableRows(row=row, difference=difference, causes=("one cause", "another"))
    text = describe([PhaseCheck(phase=phase, rows=9, finding=finding)], 300)
    assert text.splitlines()[0].endswith(f"TWO RESULTS {told}")
    assert text.splitlines()[1:] == [
        "  differs:  the value of the key 1",
        "  first:    2 (int)",
        "  second:   3 (int)",
        "  reason:   a hint",
        "  cause:    one cause",
        "  cause:    another",
    ]


def test_a_job_without_rows_has_nothing_to_check() -> None:
    functions: dict[str, Any] = {"mapper": lambda _k, _v: [], "reducer": lambda _k, _v: [], "combiner": None}
    with Session({}, {}, check_rows=5) as session, pytest.raises(CheckOnly) as told:
        session.run_job({}, functions, {})
    assert (told.value.checks, told.value.rows) == ((), 0)
