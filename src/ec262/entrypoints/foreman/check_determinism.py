"""``ec262 foreman JOB --check-determinism``: tests some rows of a job on this machine before anything is bought."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TypeVar

from ec262.adapters.jobs.variation import vary
from ec262.adapters.jobs.watching import watch
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.domain.foreman.data.partition import encode_row
from ec262.domain.foreman.data.row import Row
from ec262.domain.foreman.job.determinism import ELSEWHERE, HERE, PhaseCheck, UnstableRows
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.ports.rows import Rows
from ec262.domain.values import canonical
from ec262.domain.work.work import Limits, Phase
from ec262.services.foreman.determinism_check import DeterminismCheck

T = TypeVar("T")

FUNCTIONS = {Phase.MAP: "mapper", Phase.REDUCE: "reducer"}


async def check_job(job: Job, *, sample: int, packages: Sequence[str], limits: Limits) -> tuple[PhaseCheck, ...]:
    """Compute ``sample`` rows of a job, which must have rows, and the resulting keys, twice each.

    Raises SandboxUnavailable, and everything that ``DeterminismCheck.run`` raises.
    """
    rows = sample_rows(job.rows, sample, seed=job.seed)
    seeds = [where.hash_seed for where in (HERE, ELSEWHERE)]
    sandboxes = {seed: LinuxSandbox(packages, hash_seed=seed) for seed in seeds}
    async with AsyncExitStack() as stack:
        for sandbox in sandboxes.values():
            stack.push_async_callback(sandbox.close)
        await asyncio.gather(*(sandbox.start() for sandbox in sandboxes.values()))
        return await DeterminismCheck(sandboxes, vary, watch, limits).run(job, rows)


def sample_rows(rows: Rows, count: int, *, seed: int) -> list[Row]:
    """Return ``count`` rows, chosen by ``pick``. If the rows come in pieces, choose pieces and take the first rows of
    each."""
    pieces = pick(range(len(rows.sizes)), count, seed=seed)
    each = -(-count // len(pieces))
    found = [row for piece in pieces for row in canonical.decode(rows.payload(range(piece, piece + 1)))[:each]]
    return [encode_row(key, value) for key, value in found[:count]]


def pick(rows: Sequence[T], count: int, *, seed: int) -> Sequence[T]:
    """Return ``count`` rows in their order: a third from the start, a third from the end, the rest at random."""
    if len(rows) <= count:
        return rows
    outer = count // 3
    middle = range(outer, len(rows) - outer)
    chosen = random.Random(seed).sample(middle, count - 2 * outer)  # noqa: S311 - no secret
    return [rows[number] for number in (*range(outer), *sorted(chosen), *range(len(rows) - outer, len(rows)))]


def describe(checks: Sequence[PhaseCheck], rows: int) -> str:
    """Describe the checks of a job with this number of rows."""
    return "\n".join(_phase(check, rows) for check in checks)


def _phase(check: PhaseCheck, rows: int) -> str:
    what = f"{check.rows} of {rows} rows" if check.phase is Phase.MAP else f"the {check.rows} keys that they yielded"
    told = f"{FUNCTIONS[check.phase]}: {what} computed twice, as if on two different machines"
    if check.repacked:
        told += ", and once more in smaller tasks"
    return f"{told}: " + ("no difference" if check.finding is None else _finding(check.phase, check.finding))


def _finding(phase: Phase, finding: UnstableRows) -> str:
    by_row = phase is Phase.MAP
    row = f"the {'row with ' if by_row else ''}key {finding.row}"
    if finding.row is None:
        row = f"several {'rows' if by_row else 'keys'} together"
    difference = finding.difference
    lines = [
        f"TWO RESULTS for {row}",
        f"differs:  {difference.where}",
        f"first:    {difference.first}",
        f"second:   {difference.second}",
        *([f"reason:   {difference.hint}"] if difference.hint else []),
        *(f"cause:    {cause}" for cause in finding.causes),
    ]
    return "\n  ".join(lines)
