"""Checks whether a job gives the same result everywhere: what is varied, and what is found.

Replicas are compared byte for byte, so honest workers are not paid for a job whose result depends on the clock, on
memory addresses or on the order of a set of strings. The same rows are computed twice under ``Circumstances`` that
differ like those of two machines; if the results differ, ``CAUSES`` are tried one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ec262.domain.foreman.job.difference import Difference
from ec262.domain.work.work import Phase

CLOCK_SHIFT_S = 41 * 86_400 + 7 * 3_600 + 13 * 60 + 29.5
"""A shift that changes the date, the hour, the minute and the second."""


@attrs.frozen(kw_only=True)
class Circumstances:
    """Properties of the environment that a job can observe but should not depend on.

    ``hash_seed`` selects one of two interpreters: the hashes of their strings and the addresses of their objects
    differ. ``clock_shift_s`` is how many seconds the clocks are ahead. ``moved`` is how many blocks of each size are
    allocated beforehand, which moves all later objects. With ``ticking``, clocks only count how often they were read.
    With ``counted``, random bits and the process id are consecutive numbers.
    """

    hash_seed: int = 0
    clock_shift_s: float = 0.0
    moved: int = 0
    ticking: bool = False
    counted: bool = False


HERE = Circumstances()
ELSEWHERE = Circumstances(hash_seed=1, clock_shift_s=CLOCK_SHIFT_S, moved=1)
"""The two circumstances in which a job is tried."""

STILL = Circumstances(ticking=True, counted=True)
"""As little as possible changes from run to run; each cause is tried against this."""


@attrs.frozen(kw_only=True)
class Cause:
    """``told`` describes what a job depends on if its results in these ``circumstances`` differ from those in
    ``STILL``."""

    circumstances: tuple[Circumstances, ...]
    told: str


ADDRESSES = Cause(
    circumstances=(STILL, *(attrs.evolve(STILL, moved=blocks) for blocks in range(1, 5))),
    told="the memory addresses of objects (id(), the repr() or hash() of plain objects, the order of a set of them): "
    "use values instead, or sort",
)
"""One different result is enough, because addresses vary a little in every run. Then no other cause can be
identified."""

CAUSES = (
    Cause(
        circumstances=(attrs.evolve(STILL, counted=False),) * 2,
        told="random bits without a seed (os.urandom, secrets, uuid4, random.SystemRandom, a generator created "
        "without a seed) or the process id: use the functions of the random module, which is seeded for each row",
    ),
    Cause(
        circumstances=(attrs.evolve(STILL, ticking=False),) * 2,
        told="the clock (time, datetime.now): pass times in as data",
    ),
    Cause(
        circumstances=(attrs.evolve(STILL, hash_seed=1),) * 2,
        told="hashes that differ between interpreters: those of strings and, before Python 3.12, of None (the order "
        "of a set, hash()): sort the elements of a set before you use them",
    ),
)
"""For these causes, all results have to be different."""

UNKNOWN = "an unknown cause: the difference did not appear again"

SMALLER_TASKS = 20
"""The number of tasks in which half of the rows are computed as well, because packing must not matter, either."""


def packing_cause(state: Sequence[str]) -> str:
    """Explain why results depend on how rows are packed into tasks; ``state`` names what one row has changed for
    others."""
    if not state:
        return (
            "how rows are packed into tasks: state that one row leaves behind for the next, or a combiner that must "
            "not be applied to parts of a group (an average of averages; a sum of floats depends on the order)"
        )
    return (
        f"how rows are packed into tasks: a row changes {', '.join(state)}, and the next row sees the change. "
        "Create it inside the function; the random module is seeded for each row"
    )


@attrs.frozen(kw_only=True)
class UnstableRows:
    """Rows of a phase gave two results. ``row`` is the key, as text, of a row for which this happens on its own, or
    None if it takes several rows; ``causes`` are the reasons that were identified."""

    row: str | None
    difference: Difference
    causes: tuple[str, ...]


@attrs.frozen(kw_only=True)
class PhaseCheck:
    """The result of trying ``rows`` rows of a phase: the first finding, if there is any. ``repacked`` is whether they
    were also tried in smaller tasks."""

    phase: Phase
    rows: int
    finding: UnstableRows | None
    repacked: bool = False
