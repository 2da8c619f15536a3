"""The results of simulated runs, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

Z = 1.959964
"""The number of standard deviations that contain 95 % of the normal distribution."""

_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""The same for Student's t-distribution with 1 to 10 degrees of freedom."""


@attrs.frozen(kw_only=True)
class Tally:
    """Counts of a run: its tasks, those with a wrong result, executions (all replicas bought, with or without a
    commitment), new names taken, saboteurs that lied (``woken``), and provisional wins that were reopened.
    ``second_half`` is the number of executions per task in the jobs that began after half of all tasks were done, when
    workers had a reputation; None if there were none."""

    tasks: int
    errors: int
    executions: int
    names: int = 0
    woken: int = 0
    reopened: int = 0
    second_half: float | None = None


@attrs.frozen(kw_only=True)
class Estimate:
    """A value and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def error_rate(tallies: Sequence[Tally]) -> Estimate:
    """Estimate the share of wrong results from the tasks of all runs (Wilson's score interval)."""
    errors, tasks = sum(tally.errors for tally in tallies), sum(tally.tasks for tally in tallies)
    share = errors / tasks
    middle = share + Z * Z / (2 * tasks)
    margin = Z * math.sqrt(share * (1 - share) / tasks + Z * Z / (4 * tasks * tasks))
    scale = 1 + Z * Z / tasks
    low = (middle - margin) / scale if errors else 0.0
    return Estimate(value=share, low=low, high=(middle + margin) / scale)


def cost(tallies: Sequence[Tally]) -> Estimate:
    """Estimate the executions per task from those of each run (Student's interval; there is none for a single run)."""
    costs = [tally.executions / tally.tasks for tally in tallies]
    mean = sum(costs) / len(costs)
    if len(costs) == 1:
        return Estimate(value=mean, low=mean, high=mean)
    variance = sum((each - mean) ** 2 for each in costs) / (len(costs) - 1)
    factor = _T[len(costs) - 2] if len(costs) - 2 < len(_T) else Z
    margin = factor * math.sqrt(variance / len(costs))
    return Estimate(value=mean, low=mean - margin, high=mean + margin)
