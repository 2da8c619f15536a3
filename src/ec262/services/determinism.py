"""The check of a job before anything is bought: compute some of its rows twice, and say what differs and why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

import attrs

from ec262.domain import canonical
from ec262.domain.determinism import (
    ADDRESSES,
    CAUSES,
    ELSEWHERE,
    HERE,
    STILL,
    UNKNOWN,
    Cause,
    Circumstances,
    Finding,
    PhaseCheck,
)
from ec262.domain.difference import first_difference
from ec262.domain.errors import JobError, SandboxError, SandboxLimitExceeded, TaskLimitExceeded, key_text
from ec262.domain.job import Computed, Job, Limits, Phase, Row, Work
from ec262.domain.outcome import Pairs, decode_outcome
from ec262.domain.partition import rows_payload, split
from ec262.domain.plan import PARTITION_BYTES
from ec262.domain.ports.sandbox import Sandbox
from ec262.domain.shuffle import shuffle
from ec262.services.deliveries import user_error

logger = logging.getLogger(__name__)

Vary = Callable[[bytes, Circumstances], bytes]
"""Makes of pickled functions others that compute the same in other circumstances, but for the hash seed."""


@attrs.frozen(kw_only=True)
class _Two:
    """What the same rows gave in two circumstances."""

    rows: Sequence[Row]
    first: Computed
    second: Computed

    @property
    def differ(self) -> bool:
        return self.first.outcome != self.second.outcome


class DeterminismCheck:
    """Tries a job's rows in the sandboxes of this machine, one for each hash seed."""

    def __init__(self, sandboxes: Mapping[int, Sandbox], vary: Vary, limits: Limits) -> None:
        """``limits`` are those of a task."""
        self._sandboxes = sandboxes
        self._vary = vary
        self._limits = limits

    async def run(self, job: Job, sample: Sequence[Row]) -> tuple[PhaseCheck, ...]:
        """Try some of a job's rows, at least one, and then all keys that the mapper made of them.

        Raises what ends a run of the job (UserCodeFailed, TaskLimitExceeded, KeyCollision, KeyNotHashable), and
        SandboxCrashed. What comes after a finding is not raised: the finding may be why.
        """
        mapped, outputs = await self._check(job, Phase.MAP, sample)
        try:
            groups = shuffle([output.pairs for output in outputs], numbered=job.partitioned)
            reduced = [(await self._check(job, Phase.REDUCE, groups))[0]] if groups else []
        except JobError:
            if mapped.finding is None:
                raise
            reduced = []
        return (mapped, *reduced)

    async def _check(self, job: Job, phase: Phase, rows: Sequence[Row]) -> tuple[PhaseCheck, list[Pairs]]:
        """Try a phase; return what was found, and what the rows gave here."""
        finding: Finding | None = None
        outputs: list[Pairs] = []
        sizes = [len(row.data) for row in rows]
        for part in split(sizes, min(len(rows), 1 + sum(sizes) // PARTITION_BYTES)):
            two = await self._twice(job, phase, rows[part.start : part.stop])
            if two.differ and finding is None:
                finding = await self._find(job, phase, two)
            outcome = decode_outcome(two.first.outcome)
            if isinstance(outcome, Pairs):
                outputs.append(outcome)
            elif not two.differ:
                raise user_error(outcome, two.first.log.decode(errors="replace"))
        return PhaseCheck(phase=phase, rows=len(rows), finding=finding), outputs

    # --- what differs -----------------------------------------------------------------------------------------------

    async def _find(self, job: Job, phase: Phase, two: _Two) -> Finding:
        two = await self._narrowed(job, phase, two)
        difference = first_difference(decode_outcome(two.first.outcome), decode_outcome(two.second.outcome))
        assert difference is not None  # noqa: S101 - different bytes are different outcomes
        row = key_text(canonical.decode(two.rows[0].key)) if len(two.rows) == 1 else None
        causes = await self._causes(job, phase, two.rows)
        return Finding(row=row, difference=difference, causes=causes)

    async def _narrowed(self, job: Job, phase: Phase, two: _Two) -> _Two:
        """Return the first row that differs by itself, or as few as it takes."""
        while len(two.rows) > 1:
            middle = len(two.rows) // 2
            for half in (two.rows[:middle], two.rows[middle:]):
                smaller = await self._twice(job, phase, half)
                if smaller.differ:
                    two = smaller
                    break
            else:
                break
        return two

    async def _causes(self, job: Job, phase: Phase, rows: Sequence[Row]) -> tuple[str, ...]:
        """Change one thing after the other, and see what makes a difference."""
        still = await self._outcome(job, phase, rows, STILL)

        async def differences(cause: Cause) -> list[bool]:
            return [await self._outcome(job, phase, rows, where) != still for where in cause.circumstances]

        if any(await differences(ADDRESSES)):
            return (ADDRESSES.told,)
        return tuple([cause.told for cause in CAUSES if all(await differences(cause))]) or (UNKNOWN,)

    # --- runs -------------------------------------------------------------------------------------------------------

    async def _twice(self, job: Job, phase: Phase, rows: Sequence[Row]) -> _Two:
        """Compute rows in both circumstances. Raises TaskLimitExceeded, SandboxCrashed."""
        runs = [asyncio.create_task(self._compute(job, phase, rows, where)) for where in (HERE, ELSEWHERE)]
        try:
            first, second = await asyncio.gather(*runs)
        except SandboxLimitExceeded as error:
            name = f"a try of {len(rows)} rows of the {phase.value} phase"
            raise TaskLimitExceeded(task=name, limit=error.limit, detail=error.detail) from error
        finally:
            for run in runs:
                run.cancel()
            await asyncio.wait(runs)
        return _Two(rows=rows, first=first, second=second)

    async def _outcome(self, job: Job, phase: Phase, rows: Sequence[Row], where: Circumstances) -> bytes | str:
        """Return what rows come to; of one that did not end well, how it ended."""
        try:
            return (await self._compute(job, phase, rows, where)).outcome
        except SandboxError as error:
            return type(error).__name__

    async def _compute(self, job: Job, phase: Phase, rows: Sequence[Row], where: Circumstances) -> Computed:
        work = Work(
            phase=phase,
            functions=self._vary(job.functions, where),
            rows=rows_payload(rows),
            seed=job.seed,
            round_floats=job.round_floats,
        )
        computed = await self._sandboxes[where.hash_seed].run(work, self._limits)
        logger.debug("%s phase, %d rows, %s: %d bytes", phase.value, len(rows), where, len(computed.outcome))
        return computed
