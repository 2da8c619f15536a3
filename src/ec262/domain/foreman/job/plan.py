"""The plan of a job: how many tasks it has, and whether the credits suffice.

Rows and keys are packed into tasks so that every group of free slots gets a few (which evens out stragglers), no task
has more bytes than it should, and a reserve of credits remains: for the reduce phase, and for one task to buy again. If
there are many rows, tasks are sized by the time that rows take (``ec262.domain.foreman.data.sizing``): then the plan
holds an estimate and the maximum number of tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ec262.domain.errors import InsufficientCredits
from ec262.domain.verification.rules import Credibility, Majority, Quorum

WAVES = 3
"""The number of map tasks for each task that the pool can compute at a time: enough to even out stragglers."""

PARTITION_BYTES = 16 << 20
"""The maximum size of a partition, if rows and credits allow."""

MAX_PARTITION_BYTES = 128 << 20
"""The maximum average size of a partition: workers would refuse a larger one."""

MANY = 2
"""Tasks are sized by time only if there are more rows than this for each; otherwise there is little choice."""

SIZED_SHARE = 2
"""1 / SIZED_SHARE of the credits left by a plan may be spent on more, smaller tasks."""

SPARE_TASKS = 1
"""The number of tasks whose credits are reserved for buying lost tasks again."""

SPARE_SHARE = 5
"""1 / SPARE_SHARE of the credits is also reserved if the rule may ask for additional workers."""


@attrs.frozen(kw_only=True)
class Plan:
    """``map_tasks`` and ``reduce_tasks`` of ``replicas`` credits each; the reduce phase may turn out smaller.

    ``adds_workers`` means that these are only the initial credits: the rule asks for more workers if results differ. A
    partition has at most ``partition_bytes`` if rows and credits allow. ``given`` is whether the job's author has set
    the number of reduce tasks. ``at_once`` is how many tasks the pool computes at a time. If ``most_map_tasks`` is
    larger than ``map_tasks``, the number of map tasks depends on the time that rows take.
    """

    map_tasks: int
    reduce_tasks: int
    most_map_tasks: int = attrs.field(default=attrs.Factory(lambda self: self.map_tasks, takes_self=True))
    at_once: int = 1
    replicas: int
    purse: int
    adds_workers: bool = False
    partition_bytes: int = PARTITION_BYTES
    given: bool = False

    @property
    def price(self) -> int:
        """The credits for all tasks, if each is bought once and no worker is added; an estimate if tasks are sized by
        time."""
        return (self.map_tasks + self.reduce_tasks) * self.replicas

    @property
    def most_price(self) -> int:
        """The credits for the maximum number of tasks, under the same conditions."""
        return (self.most_map_tasks + self.reduce_tasks) * self.replicas

    def is_sized(self, pieces: int) -> bool:
        """Tell whether the map tasks for this number of pieces of rows are sized by time."""
        return self.most_map_tasks > self.map_tasks and pieces > MANY * self.map_tasks

    @property
    def spare(self) -> int:
        """The credits that are left after ``price``."""
        return self.purse - self.price


def plan_job(
    row_sizes: Sequence[int],
    *,
    slots: int,
    purse: int,
    replicas: int,
    adds_workers: bool = False,
    partition_bytes: int = PARTITION_BYTES,
    map_tasks: int | None = None,
    reduce_tasks: int | None = None,
) -> Plan:
    """Plan a job over rows of these sizes (bytes) for a pool with ``slots`` free slots; ``map_tasks`` and
    ``reduce_tasks`` are how many the job's author wants.

    Raises InsufficientCredits, which states what the smallest possible plan needs.
    """
    least = min(map_tasks or max(1, -(-sum(row_sizes) // partition_bytes)), len(row_sizes))
    least_reduce = reduce_tasks or 1
    affordable = _for_first_replicas(purse, adds_workers=adds_workers) // replicas - SPARE_TASKS
    if affordable < least + least_reduce:
        need = (least + least_reduce + SPARE_TASKS) * replicas
        why = f"{least} map, {least_reduce} reduce and {SPARE_TASKS} spare task at {replicas} credits each"
        if adds_workers:
            need += (need - 1) // (SPARE_SHARE - 1)
            why += ", plus a reserve for additional workers where results differ"
        raise InsufficientCredits(have=purse, need=need, why=why)
    at_once = max(1, slots // replicas)
    mapping = least if map_tasks else min(len(row_sizes), max(least, at_once * WAVES))
    reducing = reduce_tasks or at_once
    if mapping + reducing > affordable:
        reducing = reduce_tasks or max(1, min(reducing, affordable // 3))
        mapping = max(least, min(mapping, affordable - reducing))
        reducing = min(reducing, affordable - mapping)
    sized = not map_tasks and len(row_sizes) > MANY * mapping
    more = min((affordable - mapping - reducing) // SIZED_SHARE, len(row_sizes) - mapping) if sized else 0
    return Plan(
        map_tasks=mapping,
        most_map_tasks=mapping + more,
        at_once=at_once,
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
    """Return the number of reduce tasks: as planned, or more if the values turned out to be large and the author has
    not set the number.

    ``key_sizes`` are the bytes of each key with its values; ``purse`` is what is left after the map phase. Raises
    InsufficientCredits if it does not suffice for the minimum number of tasks.
    """
    wished = max(plan.reduce_tasks, 0 if plan.given else -(-sum(key_sizes) // plan.partition_bytes))
    least = -(-sum(key_sizes) // MAX_PARTITION_BYTES)
    affordable = purse // plan.replicas
    if affordable < least:
        why = f"the map phase yielded {sum(key_sizes) >> 20} MiB; a combiner would reduce that"
        raise InsufficientCredits(have=purse, need=least * plan.replicas, why=why)
    careful = _for_first_replicas(purse, adds_workers=plan.adds_workers) // plan.replicas - SPARE_TASKS
    return max(1, min(max(wished, least), max(least, careful), len(key_sizes)))


def rules_for(workers: int) -> tuple[str, ...]:
    """Return the rules, as text, that can be satisfied by this number of newcomers, smallest error first."""
    errors = (Credibility(error=10.0**-digits) for digits in range(9, 0, -1))
    least = next((rule.spec for rule in errors if rule.team() <= workers), None)
    counts = (Majority().spec, Majority().replicas), (Quorum().spec, Quorum().count)
    return tuple(filter(None, (least, *(spec for spec, count in counts if count <= workers))))
