"""A job, as its foreman runs it."""

from __future__ import annotations

import attrs

from ec262.domain.ports.rows import Rows
from ec262.domain.protocol.requirement import Requirement


@attrs.frozen(kw_only=True)
class Job:
    """Everything that a run needs to know of a job: its pickled functions, its rows in order, what its workers must
    have, which modules of the foreman's own packages the functions import, the seed of its randomness, to how many
    digits its floats are rounded (see ``Work``), whether its functions have a partitioner, and how many map and reduce
    tasks its author wants (None: what the plan makes of it)."""

    functions: bytes = attrs.field(repr=False)
    rows: Rows = attrs.field(repr=False)
    requirement: Requirement
    modules: tuple[str, ...] = ()
    seed: int = 0
    round_floats: int = 0
    partitioned: bool = False
    map_tasks: int | None = None
    reduce_tasks: int | None = None
