"""The data of one phase: its rows, their partitions, the work sent for each task, and the results set aside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

from ec262.domain.errors import PhaseOver, SpillFailed
from ec262.domain.foreman.data.sizing import TimedCut
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.ports.clock import Entropy
from ec262.domain.ports.rows import Rows
from ec262.domain.ports.spill import Spill, Spills
from ec262.domain.work.packing import pack
from ec262.domain.work.work import Limits, Phase, TaskName, Work
from ec262.domain.work.work_hash import NONCE_BYTES, WorkBinding, work_hash
from ec262.services.foreman.data.byte_budget import Room
from ec262.services.foreman.data.partitions import Grow, Partitions

InTurn = Callable[..., Awaitable[Any]]
"""Calls a function with arguments in a thread, one call at a time."""


@attrs.define
class _Loan:
    """A task's rows while they are sent to its workers."""

    loading: asyncio.Task[bytes]
    packing: asyncio.Task[bytes | None] | None = None
    users: int = 0


class PhaseData:
    """One phase's rows and tasks, which end with the phase: later calls raise PhaseOver.

    No task of another phase can be looked up here, so a message that arrives late cannot get another phase's rows.
    """

    def __init__(
        self,
        phase: Phase,
        rows: Rows,
        job: Job,
        limits: Limits,
        *,
        entropy: Entropy,
        sending: Room,
        in_turn: InTurn,
        spills: Spills | None,
    ) -> None:
        self.phase = phase
        self._rows = rows
        self._job = job
        self._limits = limits
        self._entropy = entropy
        self._sending = sending
        self._in_turn = in_turn
        self._spills = spills
        self._partitions = Partitions(phase)
        self._loans: dict[TaskName, _Loan] = {}
        self._bindings: dict[TaskName, WorkBinding] = {}
        self._aside: dict[TaskName, bytes | range] = {}
        self._aside_spill: Spill | None = None
        self._over = False

    @property
    def sizes(self) -> Sequence[int]:
        """The bytes of each piece of the rows; a piece is never cut."""
        return self._rows.sizes

    def cut(self, tasks: int) -> tuple[TaskName, ...]:
        """Cut the rows into this many partitions; return the names of their tasks."""
        return self._partitions.cut(self.sizes, tasks)

    def cut_by_time(self, timed: TimedCut, grow: Grow) -> tuple[TaskName, ...]:
        """Return the names of the first tasks; pass those of later tasks to ``grow``."""
        return self._partitions.cut_by_time(timed, grow)

    @property
    def tasks_to_come(self) -> int:
        """About how many more tasks the phase will have, beyond those that have names."""
        return self._partitions.tasks_to_come

    def took(self, name: TaskName, seconds: float) -> None:
        """Record how long a worker says it took to compute a task."""
        if name in self._bindings:  # otherwise it computed something that was never sent
            self._partitions.took(name.index, seconds)

    def place(self, name: TaskName) -> int:
        """Return the position of a task's rows in the phase. Tasks need not get their rows in the order of their names.

        Raises KeyError if the task has no rows yet.
        """
        return self._partitions[name.index].start

    def bytes_of(self, name: TaskName) -> int:
        """Return about how many bytes a task's rows take. Raises KeyError if it has none yet."""
        partition = self._partitions[name.index]
        return sum(self.sizes[partition.start : partition.stop])

    def binding(self, name: TaskName) -> WorkBinding | None:
        """Return what the results of a task are bound to; None if its rows have not been read yet."""
        return self._bindings.get(name)

    # --- rows ---------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def payload(self, name: TaskName) -> AsyncIterator[bytes]:
        """Provide a task's serialized rows while the context lasts, as soon as there is memory for them.

        Raises PhaseOver, SpillFailed, and JobDefinitionError if the rows can no longer be read.
        """
        self._check(name)
        loan = self._loans.get(name)
        if loan is None:
            loan = self._loans[name] = _Loan(asyncio.create_task(self._load(name)))
        loan.users += 1
        try:
            yield await asyncio.shield(loan.loading)
        finally:
            loan.users -= 1
            if not loan.users:
                del self._loans[name]
                await self._end(loan, name)

    async def packed(self, name: TaskName) -> bytes | None:
        """Pack a task's rows, once for all its workers and while their context lasts; return None if packing does not
        pay."""
        loan = self._loans[name]
        if loan.packing is None:
            loan.packing = asyncio.create_task(asyncio.to_thread(pack, await loan.loading))
        return await asyncio.shield(loan.packing)

    async def _load(self, name: TaskName) -> bytes:
        pieces = await self._partitions.pieces_for(name.index)
        size = self.bytes_of(name)
        await self._sending.take(size)
        try:
            rows: bytes = await self._in_turn(self._read, name, pieces)
        except BaseException:
            self._sending.give(size)
            raise
        return rows

    def _read(self, name: TaskName, pieces: range) -> bytes:
        """Read a task's rows. The first reading fixes the task's work; later readings must give the same rows."""
        self._check(name)  # the phase may have ended while the task waited for memory
        rows = self._rows.payload(pieces)
        work = Work(
            phase=self.phase,
            functions=self._job.functions,
            rows=rows,
            seed=self._job.seed,
            round_floats=self._job.round_floats,
        )
        digest = work_hash(work, self._limits)
        binding = self._bindings.get(name)
        if binding is None:
            nonce = self._entropy.token(NONCE_BYTES)
            self._bindings[name] = WorkBinding(work_hash=digest, nonce=nonce)
        elif binding.work_hash != digest:
            raise SpillFailed(f"the rows of {name} have changed since they were first read: check this machine's disk")
        return rows

    async def _end(self, loan: _Loan, name: TaskName) -> None:
        loan.loading.cancel()
        if loan.packing is not None:
            await asyncio.wait([loan.packing])
        (loaded,) = await asyncio.gather(loan.loading, return_exceptions=True)
        if isinstance(loaded, bytes):
            self._sending.give(self.bytes_of(name))

    # --- results ------------------------------------------------------------------------------------------------------

    def yielded(self, name: TaskName, result_bytes: int) -> None:
        """Record that a task was computed, and the size of its result."""
        self._partitions.yielded(name.index, result_bytes)

    def set_aside(self, name: TaskName, outcome: bytes) -> None:
        """Keep an outcome until ``drop_aside`` or ``take_back``. Raises SpillFailed."""
        self._aside[name] = self._put_away(outcome)

    def drop_aside(self, name: TaskName) -> None:
        """Discard what was set aside for a task, if anything."""
        self._aside.pop(name, None)

    def aside(self) -> Iterator[tuple[TaskName, bytes]]:
        """Yield what was set aside, in the order of the tasks. Raises SpillFailed."""
        for name, place in sorted(self._aside.items(), key=lambda item: item[0].index):
            outcome = place
            if isinstance(outcome, range):
                assert self._aside_spill is not None  # noqa: S101 - the range comes from it
                outcome = self._aside_spill.read(outcome.start, outcome.stop)
            yield name, outcome

    def take_back(self) -> Iterator[tuple[TaskName, bytes]]:
        """Yield what was set aside, as ``aside`` does, and discard it."""
        yield from self.aside()
        self._aside.clear()
        self._close_aside()

    def _put_away(self, outcome: bytes) -> bytes | range:
        if self._spills is None:
            return outcome
        if self._aside_spill is None:
            self._aside_spill = self._spills()
        start = self._aside_spill.append(outcome)
        return range(start, start + len(outcome))

    # --- its end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the phase and release its rows. May be called twice."""
        self._over = True
        self._rows.close()
        self._close_aside()

    def _close_aside(self) -> None:
        if self._aside_spill is not None:
            self._aside_spill.close()
            self._aside_spill = None

    def _check(self, name: TaskName) -> None:
        if self._over or name.phase is not self.phase:
            raise PhaseOver(f"{name} is no longer needed: its phase is over")
