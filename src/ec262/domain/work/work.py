"""Phases, tasks, limits, and the work of one task."""

from __future__ import annotations

import enum

import attrs

from ec262.domain.values.rounding import MAX_DIGITS


class Phase(enum.Enum):
    """The two phases of a job. The values are used on the wire."""

    MAP = "map"
    REDUCE = "reduce"


@attrs.frozen(kw_only=True)
class TaskName:
    """A foreman's name for a task: ``index`` counts from 0 within the phase."""

    phase: Phase
    index: int = attrs.field(validator=attrs.validators.ge(0))

    def __str__(self) -> str:
        return f"{self.phase.value} task {self.index + 1}"


@attrs.frozen(kw_only=True)
class Work:
    """The input of one task's sandbox.

    ``functions`` is a pickle that only a sandboxed child may load: a dict with ``mapper``, ``reducer``, ``combiner``
    and ``partitioner``, None for functions that the job does not have. ``rows`` is the canonical form of a list of
    ``[key, value]`` lists. ``seed`` is the job's; each row's randomness is seeded from it, the phase and the row's key.
    ``round_floats`` is the number of significant digits to which yielded floats are rounded (see
    ``ec262.domain.values.rounding``); 0 turns rounding off.
    """

    phase: Phase
    functions: bytes = attrs.field(repr=False)
    rows: bytes = attrs.field(repr=False)
    seed: int = attrs.field(validator=[attrs.validators.ge(0), attrs.validators.lt(1 << 63)])
    round_floats: int = attrs.field(default=0, validator=[attrs.validators.ge(0), attrs.validators.le(MAX_DIGITS)])


@attrs.frozen(kw_only=True)
class Limits:
    """What a task may use: seconds of processor and wall time, bytes of memory beyond the bare interpreter, and bytes
    of output. The result and the log have separate limits."""

    cpu_s: float = attrs.field(default=600.0, validator=attrs.validators.gt(0))
    wall_s: float = attrs.field(default=600.0, validator=attrs.validators.gt(0))
    memory_bytes: int = attrs.field(default=1 << 30, validator=attrs.validators.gt(0))
    output_bytes: int = attrs.field(default=64 << 20, validator=attrs.validators.gt(0))
    log_bytes: int = attrs.field(default=64 << 10, validator=attrs.validators.gt(0))

    def capped_by(self, ceiling: Limits) -> Limits:
        """Return these limits, each lowered to ``ceiling``'s if it is higher."""
        return Limits(
            cpu_s=min(self.cpu_s, ceiling.cpu_s),
            wall_s=min(self.wall_s, ceiling.wall_s),
            memory_bytes=min(self.memory_bytes, ceiling.memory_bytes),
            output_bytes=min(self.output_bytes, ceiling.output_bytes),
            log_bytes=min(self.log_bytes, ceiling.log_bytes),
        )


@attrs.frozen(kw_only=True)
class Computed:
    """What a sandbox returns: the canonical outcome (see ``ec262.domain.work.outcome``) and the log, which is not
    compared. The log is UTF-8 text: what the job printed and, after a failure, the traceback. ``stopped`` marks an
    outcome that is a limit or a crash."""

    outcome: bytes = attrs.field(repr=False)
    log: bytes = attrs.field(repr=False)
    stopped: bool = False
