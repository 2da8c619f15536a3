"""The plan of a job: how many tasks, and whether the purse can bear them.

Rows and keys are packed into tasks so that every group of free slots gets a few (stragglers even out), no task carries
more bytes than it should, and the purse keeps a reserve: the reduce phase, and one task to buy again.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ec262.domain.errors import InsufficientCredits
from ec262.domain.verification import Credibility, Majority, Quorum

WAVES = 3
"""Map tasks for each task that the pool can compute at one time: enough to even out stragglers."""

PARTITION_BYTES = 16 << 20
"""A partition is cut so that it does not pass this size, where rows and purse allow."""

MAX_PARTITION_BYTES = 128 << 20
"""No partition may be larger than this on average: workers would refuse it."""

SPARE_TASKS = 1
"""Tasks' worth of credits kept back to buy again one that was lost."""

SPARE_SHARE = 5
"""One credit in so many is kept back besides, where the rule may ask for more workers than tasks are bought with."""


@attrs.frozen(kw_only=True)
class Plan:
    """``map_tasks`` and ``reduce_tasks`` of ``replicas`` credits each; the reduce phase may turn out smaller.

    ``adds_workers`` says that these are the credits at first: the rule asks for more workers where those differ.
    A partition takes ``partition_bytes`` at most, where rows and purse allow. ``given`` is whether the job's author has
    set the number of reduce tasks.
    """

    map_tasks: int
    reduce_tasks: int
    replicas: int
    purse: int
    adds_workers: bool = False
    partition_bytes: int = PARTITION_BYTES
    given: bool = False

    @property
    def price(self) -> int:
        """Credits for all tasks, if each is bought once and no worker is added."""
        return (self.map_tasks + self.reduce_tasks) * self.replicas

    @property
    def spare(self) -> int:
        """Credits that are left then."""
        return self.purse - self.price


def plan_job(
    row_sizes: Sequence[int],
    *,
    slots: int,
    purse: int,
    replicas: int,
    adds_workers: bool = False,
    partition_bytes: int = PARTITION_BYTES,
    reduce_tasks: int | None = None,
) -> Plan:
    """Plan a job over rows of these sizes (bytes) for a pool with ``slots`` free slots; ``reduce_tasks`` is how many
    the job's author wants.

    Raises InsufficientCredits, naming what the smallest possible plan needs.
    """
    least = max(1, -(-sum(row_sizes) // partition_bytes))
    least = min(least, len(row_sizes))
    least_reduce = reduce_tasks or 1
    affordable = _for_first_replicas(purse, adds_workers=adds_workers) // replicas - SPARE_TASKS
    if affordable < least + least_reduce:
        need = (least + least_reduce + SPARE_TASKS) * replicas
        why = f"{least} map, {least_reduce} reduce and {SPARE_TASKS} spare task at {replicas} credits each"
        if adds_workers:
            need += (need - 1) // (SPARE_SHARE - 1)
            why += ", and a reserve for more workers where these differ"
        raise InsufficientCredits(have=purse, need=need, why=why)
    at_once = max(1, slots // replicas)
    map_tasks = min(len(row_sizes), max(least, at_once * WAVES))
    reducing = reduce_tasks or at_once
    if map_tasks + reducing > affordable:
        reducing = reduce_tasks or max(1, min(reducing, affordable // 3))
        map_tasks = max(least, min(map_tasks, affordable - reducing))
        reducing = min(reducing, affordable - map_tasks)
    return Plan(
        map_tasks=map_tasks,
        reduce_tasks=reducing,
        replicas=replicas,
        purse=purse,
        adds_workers=adds_workers,
        partition_bytes=partition_bytes,
        given=reduce_tasks is not None,
    )


def _for_first_replicas(purse: int, *, adds_workers: bool) -> int:
    return purse - purse // SPARE_SHARE if adds_workers else purse


def plan_reduce(key_sizes: Sequence[int], plan: Plan, *, purse: int) -> int:
    """Return how many reduce tasks to cut the keys into: as planned, more if their values turned out large and nobody
    has set the number.

    ``key_sizes`` are the bytes of each key with its values; ``purse`` is what is left after the map phase. Raises
    InsufficientCredits if it cannot buy as many tasks as there have to be.
    """
    wished = max(plan.reduce_tasks, 0 if plan.given else -(-sum(key_sizes) // plan.partition_bytes))
    least = -(-sum(key_sizes) // MAX_PARTITION_BYTES)
    affordable = purse // plan.replicas
    if affordable < least:
        why = f"the map phase yielded {sum(key_sizes) >> 20} MiB; a combiner would make that less"
        raise InsufficientCredits(have=purse, need=least * plan.replicas, why=why)
    careful = _for_first_replicas(purse, adds_workers=plan.adds_workers) // plan.replicas - SPARE_TASKS
    return max(1, min(max(wished, least), max(least, careful), len(key_sizes)))


def rules_for(workers: int) -> tuple[str, ...]:
    """Return rules, as text, that so few workers suffice for of whom nothing is known: the least error first."""
    errors = (Credibility(error=10.0**-digits) for digits in range(9, 0, -1))
    least = next((rule.spec for rule in errors if rule.team() <= workers), None)
    counts = (Majority().spec, Majority().replicas), (Quorum().spec, Quorum().count)
    return tuple(filter(None, (least, *(spec for spec, count in counts if count <= workers))))
