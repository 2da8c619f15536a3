"""Checks a job before anything is bought: computes some of its rows twice, and explains any difference."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import attrs

from ec262.domain.errors import JobError, SandboxError, SandboxLimitExceeded, TaskLimitExceeded, key_text
from ec262.domain.foreman.data.partition import rows_payload, split
from ec262.domain.foreman.data.row import Row
from ec262.domain.foreman.data.shuffle import shuffle
from ec262.domain.foreman.job.determinism import (
    ADDRESSES,
    CAUSES,
    ELSEWHERE,
    HERE,
    SMALLER_TASKS,
    STILL,
    UNKNOWN,
    Cause,
    Circumstances,
    PhaseCheck,
    UnstableRows,
    packing_cause,
)
from ec262.domain.foreman.job.difference import first_difference
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.foreman.job.plan import PARTITION_BYTES
from ec262.domain.ports.sandbox import Sandbox
from ec262.domain.values import canonical
from ec262.domain.work.outcome import Failure, Pairs, decode_outcome
from ec262.domain.work.work import Computed, Limits, Phase, Work
from ec262.services.foreman.workers.deliveries import user_error

logger = logging.getLogger(__name__)

Vary = Callable[[bytes, Circumstances], bytes]
"""Wraps pickled functions so that they compute the same in other circumstances, except for the hash seed."""

Watch = Callable[[bytes, Phase], bytes]
"""Wraps pickled functions so that they yield, as keys, the state that a row of this phase changed for later rows."""


@attrs.frozen(kw_only=True)
class _Two:
    """The outcomes of the same rows in two circumstances."""

    rows: Sequence[Row]
    first: Computed
    second: Computed

    @property
    def differ(self) -> bool:
        return self.first.outcome != self.second.outcome


class DeterminismCheck:
    """Computes rows of a job in this machine's sandboxes, one for each hash seed."""

    def __init__(self, sandboxes: Mapping[int, Sandbox], vary: Vary, watch: Watch, limits: Limits) -> None:
        """``limits`` apply to each task."""
        self._sandboxes = sandboxes
        self._vary = vary
        self._watch = watch
        self._limits = limits

    async def run(self, job: Job, sample: Sequence[Row]) -> tuple[PhaseCheck, ...]:
        """Compute some of a job's rows, at least one, and then all keys that the mapper yields for them. If no
        difference is found, compute both again in smaller tasks.

        Raises what would end a run of the job (UserCodeFailed, TaskLimitExceeded, KeyCollision, KeyNotHashable), and
        SandboxCrashed. Errors after a finding are not raised: the finding may be their cause.
        """
        mapped, outputs = await self._check(job, Phase.MAP, sample)
        try:
            groups = self._groups(job, outputs)
            if not groups:
                return (mapped,)
            reduced, results = await self._check(job, Phase.REDUCE, groups)
        except JobError:
            if mapped.finding is None:
                raise
            return (mapped,)
        if mapped.finding is None and reduced.finding is None:
            if len(sample) > 1:
                mapped = await self._check_packing_of_rows(job, mapped, sample, results)
            if len(groups) > 1:
                reduced = await self._check_packing_of_keys(job, reduced, groups, results)
        return mapped, reduced

    def _groups(self, job: Job, outputs: Sequence[Pairs]) -> Sequence[Row]:
        return shuffle([output.pairs for output in outputs], numbered=job.partitioned)

    async def _check(self, job: Job, phase: Phase, rows: Sequence[Row]) -> tuple[PhaseCheck, list[Pairs]]:
        """Check a phase; return what was found, and what the rows yielded here."""
        finding: UnstableRows | None = None
        outputs: list[Pairs] = []
        for part in _parts(rows):
            two = await self._twice(job, phase, part)
            if two.differ and finding is None:
                finding = await self._find(job, phase, two)
            outcome = decode_outcome(two.first.outcome)
            if isinstance(outcome, Pairs):
                outputs.append(outcome)
            elif isinstance(outcome, Failure) and not two.differ:
                raise user_error(outcome, two.first.log.decode(errors="replace"))
        return PhaseCheck(phase=phase, rows=len(rows), finding=finding), outputs

    # --- packing ----------------------------------------------------------------------------------------------------

    async def _check_packing_of_rows(
        self, job: Job, check: PhaseCheck, rows: Sequence[Row], results: Sequence[Pairs]
    ) -> PhaseCheck:
        """Map the rows in smaller tasks. Only the result counts: combined pairs may legitimately differ."""
        mapped = await self._in_tasks(job, Phase.MAP, _uneven_parts(rows))
        again: list[Pairs] | Failure = mapped
        if not isinstance(mapped, Failure):
            again = await self._in_tasks(job, Phase.REDUCE, _parts(self._groups(job, mapped)))
        return await self._compared(job, check, rows, results, again)

    async def _check_packing_of_keys(
        self, job: Job, check: PhaseCheck, groups: Sequence[Row], results: Sequence[Pairs]
    ) -> PhaseCheck:
        """Reduce the keys in smaller tasks."""
        again = await self._in_tasks(job, Phase.REDUCE, _uneven_parts(groups))
        return await self._compared(job, check, groups, results, again)

    async def _in_tasks(self, job: Job, phase: Phase, tasks: Iterable[Sequence[Row]]) -> list[Pairs] | Failure:
        """Compute tasks one after the other; return what each yields, or the first failure."""
        outcomes: list[Pairs] = []
        for rows in tasks:
            outcome = decode_outcome((await self._limited(job, phase, rows, HERE)).outcome)
            if isinstance(outcome, Failure):
                return outcome
            if isinstance(outcome, Pairs):  # a task that was stopped raises instead
                outcomes.append(outcome)
        return outcomes

    async def _compared(
        self,
        job: Job,
        check: PhaseCheck,
        rows: Sequence[Row],
        results: Sequence[Pairs],
        again: Sequence[Pairs] | Failure,
    ) -> PhaseCheck:
        check = attrs.evolve(check, repacked=True)
        difference = first_difference(_joined(results), again if isinstance(again, Failure) else _joined(again))
        if difference is None:
            return check
        cause = packing_cause(await self._changed_state(job, check.phase, rows))
        return attrs.evolve(check, finding=UnstableRows(row=None, difference=difference, causes=(cause,)))

    async def _changed_state(self, job: Job, phase: Phase, rows: Sequence[Row]) -> list[str]:
        """Return the state that a row changes for later rows, as far as it can be detected."""
        watched = attrs.evolve(job, functions=self._watch(job.functions, phase))
        try:
            seen = decode_outcome((await self._compute(watched, phase, rows, HERE)).outcome)
        except SandboxError:
            return []
        return sorted({str(key) for key, _ in seen.pairs}) if isinstance(seen, Pairs) else []

    # --- what differs -----------------------------------------------------------------------------------------------

    async def _find(self, job: Job, phase: Phase, two: _Two) -> UnstableRows:
        two = await self._narrowed(job, phase, two)
        difference = first_difference(decode_outcome(two.first.outcome), decode_outcome(two.second.outcome))
        assert difference is not None  # noqa: S101 - different bytes are different outcomes
        row = key_text(canonical.decode(two.rows[0].key)) if len(two.rows) == 1 else None
        causes = await self._causes(job, phase, two.rows)
        return UnstableRows(row=row, difference=difference, causes=causes)

    async def _narrowed(self, job: Job, phase: Phase, two: _Two) -> _Two:
        """Return the first row that differs on its own, or the smallest range found that does."""
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
        """Change one circumstance at a time, and see which makes a difference."""
        still = await self._outcome(job, phase, rows, STILL)

        async def differences(cause: Cause) -> list[bool]:
            return [await self._outcome(job, phase, rows, where) != still for where in cause.circumstances]

        if any(await differences(ADDRESSES)):
            return (ADDRESSES.told,)
        return tuple([cause.told for cause in CAUSES if all(await differences(cause))]) or (UNKNOWN,)

    # --- runs -------------------------------------------------------------------------------------------------------

    async def _twice(self, job: Job, phase: Phase, rows: Sequence[Row]) -> _Two:
        """Compute rows in both circumstances. Raises TaskLimitExceeded, SandboxCrashed."""
        runs = [asyncio.create_task(self._limited(job, phase, rows, where)) for where in (HERE, ELSEWHERE)]
        try:
            first, second = await asyncio.gather(*runs)
        finally:
            for run in runs:
                run.cancel()
            await asyncio.wait(runs)
        return _Two(rows=rows, first=first, second=second)

    async def _limited(self, job: Job, phase: Phase, rows: Sequence[Row], where: Circumstances) -> Computed:
        try:
            return await self._compute(job, phase, rows, where)
        except SandboxLimitExceeded as error:
            name = f"a trial of {len(rows)} row(s) of the {phase.value} phase"
            raise TaskLimitExceeded(task=name, limit=error.limit, detail=error.detail) from error

    async def _outcome(self, job: Job, phase: Phase, rows: Sequence[Row], where: Circumstances) -> bytes | str:
        """Return the outcome of rows, or the name of the error that ended them."""
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


def _parts(rows: Sequence[Row], tasks: int = 1) -> list[Sequence[Row]]:
    """Split rows into this many tasks: more if the rows are large, fewer if there are not enough rows."""
    sizes = [len(row.data) for row in rows]
    parts = split(sizes, min(len(rows), max(tasks, 1 + sum(sizes) // PARTITION_BYTES))) if rows else []
    return [rows[part.start : part.stop] for part in parts]


def _uneven_parts(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Split at least two rows into small tasks and a large one: groups of equal size would hide a mean of means."""
    middle = len(rows) // 2
    return [*_parts(rows[:middle], SMALLER_TASKS), *_parts(rows[middle:])]


def _joined(outcomes: Sequence[Pairs]) -> Pairs:
    return Pairs(pairs=tuple(chain.from_iterable(outcome.pairs for outcome in outcomes)))
