"""The plan of a job: how many tasks, and whether the purse can bear them.

Rows and keys are packed into tasks so that every group of free slots gets a few (stragglers even out), no task carries
more bytes than it should, and the purse keeps a reserve: the reduce phase, and one task to buy again.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ec262.domain.errors import InsufficientCredits

WAVES = 3
"""Map tasks for each task that the pool can compute at one time: enough to even out stragglers."""

PARTITION_BYTES = 16 << 20
"""A partition is cut so that it does not pass this size, where rows and purse allow."""

MAX_PARTITION_BYTES = 128 << 20
"""No partition may be larger than this on average: workers would refuse it."""

SPARE_TASKS = 1
"""Tasks' worth of credits kept back to buy again one that was lost."""


@attrs.frozen(kw_only=True)
class Plan:
    """``map_tasks`` and ``reduce_tasks`` of ``replicas`` credits each; the reduce phase may turn out smaller.

    A partition takes ``partition_bytes`` at most, where rows and purse allow. ``given`` is whether the job's author has
    set the number of reduce tasks.
    """

    map_tasks: int
    reduce_tasks: int
    replicas: int
    purse: int
    partition_bytes: int = PARTITION_BYTES
    given: bool = False

    @property
    def price(self) -> int:
        """Credits for all tasks, if each is bought once."""
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
    affordable = purse // replicas - SPARE_TASKS
    if affordable < least + least_reduce:
        need = (least + least_reduce + SPARE_TASKS) * replicas
        why = f"{least} map, {least_reduce} reduce and {SPARE_TASKS} spare task at {replicas} credits each"
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
        partition_bytes=partition_bytes,
        given=reduce_tasks is not None,
    )


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
    return max(1, min(max(wished, least), max(least, affordable - SPARE_TASKS), len(key_sizes)))
