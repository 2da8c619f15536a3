"""Estimates with their intervals."""

from __future__ import annotations

import pytest

from ec262.domain.simulation.statistics import Estimate, Tally, cost, error_rate


def tally(errors: int = 0, executions: int = 100) -> Tally:
    return Tally(tasks=100, errors=errors, executions=executions)


def test_wilsons_interval() -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I.
    for errors, tasks, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]:
        found = error_rate([Tally(tasks=tasks, errors=errors, executions=tasks)])
        assert [found.low, found.high] == pytest.approx([low, high], abs=5e-5)


def test_errors_of_all_runs_count_together() -> None:
    assert error_rate([tally(1), tally(3)]).value == 0.02


def test_students_interval_over_runs() -> None:
    found = cost([tally(executions=110), tally(executions=120), tally(executions=130)])
    assert found.value == pytest.approx(1.2)
    assert found.high - found.value == pytest.approx(4.303 * 0.1 / 3**0.5)


def test_one_run_has_no_interval_and_many_have_the_normal_one() -> None:
    assert cost([tally(executions=150)]) == Estimate(value=1.5, low=1.5, high=1.5)
    many = cost([tally(executions=100 + 20 * (each % 2)) for each in range(20)])
    assert many.high - many.value == pytest.approx(1.959964 * (0.01 * 20 / 19) ** 0.5 / 20**0.5)
