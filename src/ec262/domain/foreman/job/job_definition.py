"""The definition of a job that a foreman runs."""

from __future__ import annotations

import attrs

from ec262.domain.ports.rows import Rows
from ec262.domain.protocol.requirement import Requirement


@attrs.frozen(kw_only=True)
class Job:
    """Everything that a run needs to know about a job: its pickled functions, its rows in order, the requirement for
    its workers, the modules of the foreman's own packages that the functions import, the seed of its randomness, the
    number of digits to which its floats are rounded (see ``Work``), whether it has a partitioner, and how many map and
    reduce tasks its author wants (None: as planned)."""

    functions: bytes = attrs.field(repr=False)
    rows: Rows = attrs.field(repr=False)
    requirement: Requirement
    modules: tuple[str, ...] = ()
    seed: int = 0
    round_floats: int = 0
    partitioned: bool = False
    map_tasks: int | None = None
    reduce_tasks: int | None = None
