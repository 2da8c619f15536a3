"""The plan of a job: how many tasks, and whether the purse can bear them.

Rows and keys are packed into tasks so that every group of free slots gets a few (stragglers even out), no task carries
more bytes than it should, and the purse keeps a reserve: the reduce phase, and one task to buy again. Where there are
many rows, tasks are sized by the time that rows take (``ec262.domain.foreman.data.sizing``): then this is what there
would be if nobody knew, and how many there may be at most.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ec262.domain.errors import InsufficientCredits
from ec262.domain.verification.rules import Credibility, Majority, Quorum

WAVES = 3
"""Map tasks for each task that the pool can compute at one time: enough to even out stragglers."""

PARTITION_BYTES = 16 << 20
"""A partition is cut so that it does not pass this size, where rows and purse allow."""

MAX_PARTITION_BYTES = 128 << 20
"""No partition may be larger than this on average: workers would refuse it."""

MANY = 2
"""Tasks are sized by time where there are more rows than this for each: else there is little to choose."""

SIZED_SHARE = 2
"""Of the credits that a plan leaves, one part in so many may be spent on more, smaller tasks."""

SPARE_TASKS = 1
"""Tasks' worth of credits kept back to buy again one that was lost."""

SPARE_SHARE = 5
"""One credit in so many is kept back besides, where the rule may ask for more workers than tasks are bought with."""


@attrs.frozen(kw_only=True)
class Plan:
    """``map_tasks`` and ``reduce_tasks`` of ``replicas`` credits each; the reduce phase may turn out smaller.

    ``adds_workers`` says that these are the credits at first: the rule asks for more workers where those differ.
    A partition takes ``partition_bytes`` at most, where rows and purse allow. ``given`` is whether the job's author has
    set the number of reduce tasks. ``at_once`` is how many tasks the pool computes at a time. If there may be
    ``most_map_tasks``, more than ``map_tasks``, their number depends on the time that rows take.
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
        """Credits for all tasks, if each is bought once and no worker is added; about so many if tasks are sized."""
        return (self.map_tasks + self.reduce_tasks) * self.replicas

    @property
    def most_price(self) -> int:
        """Credits for the most and smallest tasks that there may be, likewise."""
        return (self.most_map_tasks + self.reduce_tasks) * self.replicas

    def is_sized(self, pieces: int) -> bool:
        """Tell whether the map tasks of so many pieces of rows are sized by time."""
        return self.most_map_tasks > self.map_tasks and pieces > MANY * self.map_tasks

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
    map_tasks: int | None = None,
    reduce_tasks: int | None = None,
) -> Plan:
    """Plan a job over rows of these sizes (bytes) for a pool with ``slots`` free slots; ``map_tasks`` and
    ``reduce_tasks`` are how many the job's author wants.

    Raises InsufficientCredits, naming what the smallest possible plan needs.
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
    """Return how many reduce tasks to cut the keys into: as planned, more if their values turned out large and nobody
    has set the number.

    ``key_sizes`` are the bytes of each key with its values; ``purse`` is what is left after the map phase. Raises
    InsufficientCredits if it cannot buy as many tasks as there have to be.
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
    """Return rules, as text, that so few workers suffice for of whom nothing is known: the least error first."""
    errors = (Credibility(error=10.0**-digits) for digits in range(9, 0, -1))
    least = next((rule.spec for rule in errors if rule.team() <= workers), None)
    counts = (Majority().spec, Majority().replicas), (Quorum().spec, Quorum().count)
    return tuple(filter(None, (least, *(spec for spec, count in counts if count <= workers))))
