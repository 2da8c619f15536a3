"""Whatever workers do, and in whatever order news comes: a job ends, with the right results or with an error."""

from __future__ import annotations

import random
from collections.abc import Mapping

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ec262.domain.errors import LimitReached
from ec262.domain.foreman.run import collecting
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.work.work import TaskName
from ec262.services.discovery.discovery_policy import Policy
from tests.discovery_town import build_town, registration
from tests.job_simulation import JobSimulation, Way, is_right

RULES = ["majority:3", "quorum:1", "quorum:2", "quorum:3", "error:0.1", "error:0.01", "error:1e-4"]
NOBODY: Mapping[int, Way] = {}
NO_LIMITS = Policy(grant=0, retention_s=30.0)
HARMLESS = [Way.HONEST, Way.REFUSAL, Way.SILENCE, Way.SHYNESS, Way.STINGINESS]


def simulated(
    rule: str,
    workers: int,
    ways: list[Way],
    *,
    seed: int,
    grant: int,
    attempts: int = 3,
    bad: Mapping[int, Way] = NOBODY,
    limits: Policy = NO_LIMITS,
    anchors: int = 0,
) -> JobSimulation:
    """Run a job in which each worker does something else, by chance, with each task, but for the ``bad``, by port. The
    first ``anchors`` of them may decide alone."""
    town = build_town(grant=grant, policy=limits)
    always: dict[str, Way] = {}
    for number in range(workers):
        account = town.add_worker(number, registration(4000 + number, slots=4, ttl_s=3600 * 10))
        if number < anchors:
            with town.unit_of_work() as uow:
                uow.anchors.add(account)
                uow.commit()
        if 4000 + number in bad:
            always[account] = bad[4000 + number]
    chance = random.Random(seed)
    chosen: dict[tuple[str, TaskName], Way] = {}

    def way(worker: str, name: TaskName) -> Way:
        return always.get(worker) or chosen.setdefault((worker, name), chance.choice(ways))

    policy = RunPolicy(rule=rule, one_word=True, attempts=attempts, patience_s=20.0)
    simulation = JobSimulation(town=town, policy=policy, tasks=4, ways=way, seed=seed).to_the_end()
    assert town.service.audit() == grant
    return simulation


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=8, deadline=None)
@given(
    workers=st.integers(3, 12),
    ways=st.lists(st.sampled_from(list(Way)), min_size=1, max_size=5),
    grant=st.sampled_from([20, 60, 2000]),
    seed=st.integers(0, 1 << 32),
)
def test_a_job_ends(rule: str, workers: int, ways: list[Way], grant: int, seed: int) -> None:
    simulation = simulated(rule, workers, ways, seed=seed, grant=grant)
    if simulation.error is None:
        assert len(simulation.results) == 8
        if not {Way.LIE, Way.NONSENSE} & set(ways):
            assert is_right(simulation.results, list(simulation.results))


@settings(max_examples=20, deadline=None)
@given(
    ways=st.lists(st.sampled_from(list(Way)), max_size=4),
    anchors=st.integers(1, 3),
    grant=st.sampled_from([8, 12, 2000]),
    seed=st.integers(0, 1 << 32),
)
def test_a_job_ends_if_the_last_win_of_each_worker_is_checked(
    ways: list[Way], anchors: int, grant: int, seed: int
) -> None:
    ways = [Way.HONEST, Way.HONEST, *ways]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collecting, "TASKS_PER_CHECK", 1)
        simulation = simulated("error:0.01", 8, ways, seed=seed, grant=grant, anchors=anchors)
    if simulation.error is None and not {Way.LIE, Way.NONSENSE} & set(ways):
        assert is_right(simulation.results, list(simulation.results))


@pytest.mark.parametrize("rule", ["quorum:2", "quorum:3", "error:0.01"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_single_liars_and_losses_are_outvoted_by_workers_that_are_added(rule: str, seed: int) -> None:
    bad = {4000: Way.NONSENSE, 4001: Way.NONSENSE, 4002: Way.REFUSAL, 4003: Way.SILENCE}
    simulation = simulated(rule, 14, [Way.HONEST], seed=seed, grant=5000, bad=bad)
    assert simulation.error is None
    assert is_right(simulation.results, list(simulation.results))
    assert all(len(task.purchases) == 1 for task in simulation.run.history())


@settings(max_examples=8, deadline=None)
@given(ways=st.lists(st.sampled_from(HARMLESS), max_size=3), seed=st.integers(0, 1 << 32))
def test_without_lies_a_job_that_finishes_is_right(ways: list[Way], seed: int) -> None:
    simulation = simulated("error:0.01", 8, [Way.HONEST, Way.HONEST, *ways], seed=seed, grant=5000, attempts=9)
    if simulation.error is None:
        assert is_right(simulation.results, list(simulation.results))


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=8, deadline=None)
@given(
    ways=st.lists(st.sampled_from(HARMLESS), max_size=2),
    limits=st.one_of(
        st.builds(lambda tasks: attrs.evolve(NO_LIMITS, max_open_tasks=tasks), st.integers(1, 3)),
        st.builds(lambda credits: attrs.evolve(NO_LIMITS, max_escrow=credits), st.integers(12, 24)),
    ),
    seed=st.integers(0, 1 << 32),
)
def test_a_limit_on_open_tasks_ends_no_job(rule: str, ways: list[Way], limits: Policy, seed: int) -> None:
    ways = [Way.HONEST, Way.HONEST, *ways]
    simulation = simulated(rule, 12, ways, seed=seed, grant=5000, attempts=9, limits=limits)
    assert not isinstance(simulation.error, LimitReached)
    if simulation.error is None:
        assert is_right(simulation.results, list(simulation.results))
