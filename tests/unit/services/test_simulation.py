"""Short simulations: the real service and the real job run, with workers made up."""

from __future__ import annotations

from typing import Any

import pytest

from ec262.domain.errors import Ec262Error
from ec262.domain.foreman.run import collecting
from ec262.domain.simulation.population import Scenario
from ec262.domain.simulation.statistics import Tally
from ec262.entrypoints.simulate.bootstrap_simulation import build_simulation


def simulate(*, tasks: int = 60, job: int = 30, rule: str = "error:1e-2", seed: int = 5, **kinds: object) -> Tally:
    scenario = Scenario(name="test", workers=20, **kinds)  # type: ignore[arg-type] # any field
    return build_simulation(scenario, rule=rule, audit_rate=0.08, seed=seed).run(tasks, job=job)


def test_liars_are_found_out_and_nothing_is_wrong() -> None:
    tally = simulate(saboteurs=0.2, tasks=200, job=100, rule="error:1e-3")
    assert (tally.tasks, tally.errors, tally.woken) == (200, 0, 4)
    assert tally.executions > tally.tasks


def test_the_same_seed_gives_the_same_run() -> None:
    assert simulate(saboteurs=0.2) == simulate(saboteurs=0.2)
    assert simulate(saboteurs=0.2) != simulate(saboteurs=0.2, seed=6)


def test_the_second_half_is_counted_separately() -> None:
    tally = simulate(tasks=90, job=30)
    first = simulate(tasks=60, job=30).executions
    assert tally.second_half == (tally.executions - first) / 30
    assert simulate(tasks=30, job=30).second_half is None


def test_known_workers_compute_alone() -> None:
    assert simulate(tasks=400, job=200).executions / 400 < 0.7 * simulate(tasks=60).executions / 60


def without_checks(patch: pytest.MonkeyPatch, **kinds: Any) -> Tally:
    with patch.context() as none:
        none.setattr(collecting, "TASKS_PER_CHECK", 1 << 30)
        return simulate(**kinds)


def test_saboteurs_that_wake_up_shortly_before_a_job_ends_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    job: dict[str, Any] = {"saboteurs": 0.2, "sleep": 20, "tasks": 250, "job": 250, "seed": 6}
    assert without_checks(monkeypatch, **job).errors == 5
    assert simulate(**job).errors == 0


def test_small_jobs_do_not_get_dearer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert simulate(tasks=200, job=20) == without_checks(monkeypatch, tasks=200, job=20)


def test_a_majority_of_liars_wins_votes() -> None:
    tally = simulate(rule="majority:3:2", saboteurs=0.5)
    assert tally.errors > 15
    assert tally.executions == 180


def test_liars_come_back_under_new_names() -> None:
    assert simulate(saboteurs=0.2, renames=True).names > 4
    assert simulate(saboteurs=0.2).names == 0


@pytest.mark.parametrize(
    "plot", [{"farmers": True}, {"slanderers": True}, {"flood": 3}, {"farmers": True, "slanderers": True, "flood": 3}]
)
def test_plots_of_accomplices_make_nothing_wrong(plot: dict[str, Any]) -> None:
    tally = simulate(saboteurs=0.2, tasks=200, job=100, rule="error:1e-3", **plot)
    assert (tally.errors, tally.woken) == (0, 4)
    assert (tally.names > 0) == ("flood" in plot)


def test_with_anchors_more_than_one_in_five_may_lie() -> None:
    tally = simulate(saboteurs=0.4, anchors=0.1, farmers=True, tasks=200, job=100, rule="error:1e-3")
    assert tally.errors == 0
    assert tally.woken > 4


def test_a_sleepers_lone_wins_are_reopened() -> None:
    tally = simulate(saboteurs=0.2, sleep=20, tasks=600, job=600)
    assert tally.woken
    assert tally.reopened


def test_slow_and_vanishing_machines_cost_executions_and_no_errors() -> None:
    tally = simulate(slow=0.3, vanishing=1.0, rule="quorum:2")
    assert tally.errors == 0
    assert 120 < tally.executions < 160


def test_a_job_goes_on_after_a_dispute() -> None:
    tally = simulate(saboteurs=0.6, colluding=False, rule="majority:3:2")
    assert (tally.tasks, tally.errors) == (60, 0)
    assert tally.executions > 180, "who all differed was asked in vain"


def test_leases_are_renewed_and_progress_is_reported() -> None:
    done: list[int] = []
    foreman = build_simulation(Scenario(name="test", workers=3), rule="none", audit_rate=0.08, seed=1)
    tally = foreman.run(25, job=10, on_progress=done.append)
    assert done == [10, 20, 25]
    assert tally == Tally(tasks=25, errors=0, executions=25, second_half=1.0)


def test_a_job_that_cannot_go_on_says_why() -> None:
    foreman = build_simulation(Scenario(name="test", workers=2), rule="majority:3:2", audit_rate=0.08, seed=1)
    with pytest.raises(Ec262Error, match="no worker was available"):
        foreman.run(1, job=1)
