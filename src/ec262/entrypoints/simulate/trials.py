"""Single runs of the simulator: a policy, a scenario, a seed."""

from __future__ import annotations

from random import Random

import attrs

from ec262.domain.simulation.population import TRUTH, Dice, Population, Scenario
from ec262.domain.simulation.rivals import Boinc, Poco, Rival, Voting
from ec262.domain.simulation.statistics import Tally
from ec262.entrypoints.simulate.bootstrap_simulation import build_simulation
from ec262.services.discovery.discovery_policy import Policy

OWN = "ec262"
AUDITS = 0.05
RIVALS = ("2012", "boinc", "poco", "poco-audits")


@attrs.frozen(kw_only=True)
class Trial:
    """``tasks`` under a policy, in jobs of ``job`` tasks; the size of jobs makes no difference to the rivals."""

    policy: str
    scenario: Scenario
    tasks: int
    job: int
    seed: int
    rule: str
    audit_rate: float = Policy().audit_rate


def run_trial(trial: Trial) -> Tally:
    """Run a trial from its beginning, with workers that have no reputation."""
    if trial.policy == OWN:
        foreman = build_simulation(trial.scenario, rule=trial.rule, audit_rate=trial.audit_rate, seed=trial.seed)
        return foreman.run(trial.tasks, job=trial.job)
    dice = Random(trial.seed)  # noqa: S311 - repeatable is the point
    population = Population(trial.scenario, dice, salt=trial.seed)
    rival = make_rival(trial.policy, dice)
    errors = executions = later = 0
    for task in range(trial.tasks):
        settled = rival.settle(population, task)
        errors += settled.answer != TRUTH
        executions += settled.executions
        later += settled.executions if 2 * task >= trial.tasks else 0
    return Tally(
        tasks=trial.tasks,
        errors=errors,
        executions=executions,
        names=population.names - trial.scenario.workers,
        woken=population.woken,
        second_half=later / (trial.tasks // 2) if trial.tasks > 1 else None,
    )


def make_rival(name: str, dice: Dice) -> Rival:
    """Create a policy by name. Raises ValueError."""
    match name:
        case "2012":
            return Voting()
        case "boinc":
            return Boinc(dice=dice)
        case "poco":
            return Poco(dice=dice)
        case "poco-audits":
            return Poco(dice=dice, audits=AUDITS)
    raise ValueError(f"unknown policy {name!r}: use {OWN}, {', '.join(RIVALS)}")
