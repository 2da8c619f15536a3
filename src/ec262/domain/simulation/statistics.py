"""What simulated runs came to, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

Z = 1.959964
"""Of the normal distribution, 95 % are within so many standard deviations."""

_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""The same for Student's distribution with 1 to 10 degrees of freedom."""


@attrs.frozen(kw_only=True)
class Tally:
    """A run's tasks, those decided wrongly, executions (every replica that was bought, whether it came to anything or
    not), names taken beyond the first ones, saboteurs that lied, and provisional results that were opened again.
    ``second_half`` is the executions a task of the jobs begun when half of all tasks were done, None if there were
    none: at first, workers have to become known."""

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
    """Estimate the share of wrong results from all tasks together (Wilson's score interval)."""
    errors, tasks = sum(tally.errors for tally in tallies), sum(tally.tasks for tally in tallies)
    share = errors / tasks
    middle = share + Z * Z / (2 * tasks)
    margin = Z * math.sqrt(share * (1 - share) / tasks + Z * Z / (4 * tasks * tasks))
    scale = 1 + Z * Z / tasks
    low = (middle - margin) / scale if errors else 0.0
    return Estimate(value=share, low=low, high=(middle + margin) / scale)


def cost(tallies: Sequence[Tally]) -> Estimate:
    """Estimate the executions a task from what they were in each run (Student's interval; of one run there is none)."""
    costs = [tally.executions / tally.tasks for tally in tallies]
    mean = sum(costs) / len(costs)
    if len(costs) == 1:
        return Estimate(value=mean, low=mean, high=mean)
    variance = sum((each - mean) ** 2 for each in costs) / (len(costs) - 1)
    factor = _T[len(costs) - 2] if len(costs) - 2 < len(_T) else Z
    margin = factor * math.sqrt(variance / len(costs))
    return Estimate(value=mean, low=mean - margin, high=mean + margin)
