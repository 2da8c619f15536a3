"""Does a job give the same result everywhere? What is varied to find out, and what is found.

Replicas are compared byte for byte, so honest workers are not paid for a job whose result depends on the clock, on
addresses, on the order of a set of strings. The same rows are computed twice under ``Circumstances`` that differ as
those of two machines do; where the results differ, ``CAUSES`` are tried one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ec262.domain.foreman.job.difference import Difference
from ec262.domain.work.work import Phase

CLOCK_SHIFT_S = 41 * 86_400 + 7 * 3_600 + 13 * 60 + 29.5
"""Changes the date, the hour, the minute and the second."""


@attrs.frozen(kw_only=True)
class Circumstances:
    """What a job may notice although it should not.

    ``hash_seed``: which of two interpreters computes it; their strings have other hashes, their objects lie elsewhere.
    ``clock_shift_s``: how many seconds its clocks are ahead. ``moved``: how many blocks of each size are taken from the
    memory that its objects come from. ``ticking``: clocks that only count how often they were asked. ``counted``:
    random bits, and the number of its process, are numbers counted up.
    """

    hash_seed: int = 0
    clock_shift_s: float = 0.0
    moved: int = 0
    ticking: bool = False
    counted: bool = False


HERE = Circumstances()
ELSEWHERE = Circumstances(hash_seed=1, clock_shift_s=CLOCK_SHIFT_S, moved=1)
"""The two that a job is tried in."""

STILL = Circumstances(ticking=True, counted=True)
"""With as little as possible that changes from run to run; against it each cause is tried."""


@attrs.frozen(kw_only=True)
class Cause:
    """``told`` is what a job depends on if its results in these ``circumstances`` are others than in ``STILL`` ones."""

    circumstances: tuple[Circumstances, ...]
    told: str


ADDRESSES = Cause(
    circumstances=(STILL, *(attrs.evolve(STILL, moved=blocks) for blocks in range(1, 5))),
    told="the memory addresses of objects (id(), the repr() or hash() of plain objects, the order of a set of them): "
    "use values instead, or sort",
)
"""One different result is enough: objects lie a little elsewhere in every run. Then nothing else can be told apart."""

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
"""All results have to be different ones."""

UNKNOWN = "an unknown cause: the difference did not appear again"

SMALLER_TASKS = 20
"""How many tasks half of the rows are computed in as well: packing must not matter, either."""


def packing_cause(state: Sequence[str]) -> str:
    """Say why results depend on how rows are packed into tasks; ``state`` names what one row has changed for others."""
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
class Finding:
    """Rows of a phase gave two results. ``row`` is the key of the one row that does so by itself, as text, None if it
    takes several; ``causes`` say why, as far as trying could tell."""

    row: str | None
    difference: Difference
    causes: tuple[str, ...]


@attrs.frozen(kw_only=True)
class PhaseCheck:
    """What came of trying ``rows`` rows of a phase: the first finding, if there is any. ``repacked`` tells whether they
    were tried in smaller tasks, too."""

    phase: Phase
    rows: int
    finding: Finding | None
    repacked: bool = False
