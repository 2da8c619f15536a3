"""What a run carries from phase to phase: a phase's rows, how they are cut into tasks, and what the tasks yielded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from operator import itemgetter
from typing import Any, TypeVar

import attrs

from ec262.domain.job import Job, Phase, TaskName
from ec262.domain.memory import MemoryBudget
from ec262.domain.outcome import Failure, Pair
from ec262.domain.packing import pack
from ec262.domain.plan import Plan
from ec262.domain.portions import portions, read_failure
from ec262.domain.ports.rows import Rows
from ec262.domain.ports.spill import Spill, Spills
from ec262.domain.shuffle import ResultLines, Shuffle, merge_results
from ec262.domain.sizing import TimedCut
from ec262.services.partitions import Grow, Partitions
from ec262.services.room import Room

T = TypeVar("T")

AT_ONCE_BYTES = 256 << 10
"""Outcomes up to here are taken in at once; for larger ones, and when there are many, the event loop does not wait."""

COPIES = 3
"""So many times a result is in memory while it arrives: as a message, decrypted, and as what is made of it."""


@attrs.define
class _Loan:
    """A task's rows while they are sent to its workers."""

    loading: asyncio.Task[bytes]
    packing: asyncio.Task[bytes | None] | None = None
    users: int = 0


class JobData:
    """The data of one run of one job, one phase at a time: ``cut_map``, then ``payload`` and ``keep`` for
    each task, then ``shuffle`` and ``cut`` again, at last ``result`` or ``write``.

    Memory holds the ``budget`` of them; ``spills`` take the rest. With ``as_lines`` the result is never held whole: it
    can be written and not returned.
    """

    def __init__(self, job: Job, spills: Spills | None, budget: MemoryBudget, *, as_lines: bool = False) -> None:
        self._budget = budget
        self._rows: Rows = job.rows
        self._loans: dict[int, _Loan] = {}
        self._shuffle = Shuffle(spills, budget, numbered=job.partitioned)
        self._lines = ResultLines(spills, budget) if as_lines else None
        self._yielded: dict[int, tuple[Pair, ...]] = {}
        self._phase = Phase.MAP
        self._partitions = Partitions(self._phase)
        self._kept: set[int] = set()
        self._spills = spills
        self._aside: dict[int, bytes | range] = {}
        self._aside_spill: Spill | None = None
        self._kept_bytes = self._largest = 0
        self._sending = Room(budget.travel_bytes)
        self._arriving = Room(2 * budget.travel_bytes)
        # One thing after the other: each takes memory of its own while it is under way.
        self._turn = asyncio.Lock()

    @property
    def sizes(self) -> Sequence[int]:
        """The bytes of each piece of the phase's rows: what can be cut."""
        return self._rows.sizes

    def cut(self, phase: Phase, tasks: int) -> tuple[TaskName, ...]:
        """Cut the rows into so many partitions; return the names of the tasks that work on them."""
        return self._begin(phase).cut(self.sizes, tasks)

    def cut_map(self, plan: Plan, grow: Grow, *, hold: bool = False) -> tuple[TaskName, ...]:
        """Cut the rows as planned: if by time, when workers are ready for them. Then return the names of the first
        tasks, and give those of the others to ``grow`` as they come to be known. ``hold`` as in ``TimedCut``."""
        if not plan.is_sized(len(self.sizes)):
            return self.cut(Phase.MAP, plan.map_tasks)
        timed = TimedCut(
            self.sizes,
            at_once=plan.at_once,
            most_tasks=plan.most_map_tasks,
            most_bytes=plan.partition_bytes,
            hold=hold,
        )
        return self._begin(Phase.MAP).cut_by_time(timed, grow)

    def took(self, name: TaskName, seconds: float) -> None:
        """Take in how long a worker says to have computed a task that it was sent."""
        self._partitions.took(name.index, seconds)

    @property
    def tasks_to_come(self) -> int:
        """About how many tasks the phase will have beside those that have a name."""
        return self._partitions.tasks_to_come

    def _begin(self, phase: Phase) -> Partitions:
        self._phase, self._partitions = phase, Partitions(phase)
        self._kept.clear()
        self._kept_bytes = self._largest = 0
        return self._partitions

    # --- to the workers -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def payload(self, name: TaskName) -> AsyncIterator[bytes]:
        """Have a task's rows as they travel, for as long as the context lasts; wait until there is memory for them.

        Raises SpillFailed, JobDefinitionError if the rows cannot be read any more.
        """
        loan = self._loans.get(name.index)
        if loan is None:
            loan = self._loans[name.index] = _Loan(asyncio.create_task(self._load(name.index)))
        loan.users += 1
        try:
            yield await asyncio.shield(loan.loading)
        finally:
            loan.users -= 1
            if not loan.users:
                del self._loans[name.index]
                await self._end(loan, name.index)

    async def packed(self, name: TaskName) -> bytes | None:
        """Pack a task's rows, once for all its workers, while their context lasts; None if that is not worth it."""
        loan = self._loans[name.index]
        if loan.packing is None:
            loan.packing = asyncio.create_task(asyncio.to_thread(pack, await loan.loading))
        return await asyncio.shield(loan.packing)

    async def _load(self, index: int) -> bytes:
        pieces = await self._partitions.pieces_for(index)
        size = self._bytes_of(index)
        await self._sending.take(size)
        try:
            return await self._in_turn(self._rows.payload, pieces)
        except BaseException:
            self._sending.give(size)
            raise

    async def _end(self, loan: _Loan, index: int) -> None:
        loan.loading.cancel()
        if loan.packing is not None:
            await asyncio.wait([loan.packing])
        (loaded,) = await asyncio.gather(loan.loading, return_exceptions=True)
        if isinstance(loaded, bytes):
            self._sending.give(self._bytes_of(index))

    def _bytes_of(self, index: int) -> int:
        partition = self._partitions[index]
        return sum(self.sizes[partition.start : partition.stop])

    # --- from the workers ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def arriving(self, name: TaskName) -> AsyncIterator[None]:
        """Have memory for the result of a task, for as long as the context lasts. How much that is shows only when it
        is here: about as much as the largest so far, or else as what it was made from."""
        size = COPIES * (self._largest or self._bytes_of(name.index))
        await self._arriving.take(size)
        try:
            yield
        finally:
            self._arriving.give(size)

    async def keep(self, name: TaskName, outcome: bytes) -> Failure | None:
        """Take in the canonical bytes of what a task came to, once for each task; return the failure if it is one.

        Raises NotCanonical if it is no outcome, KeyNotHashable, SpillFailed. Nothing is kept then.
        """
        failure = read_failure(outcome)
        if failure is not None or name.index in self._kept:
            return failure
        self._partitions.computed(name.index)
        self._aside.pop(name.index, None)
        self._kept_bytes += len(outcome)
        self._largest = max(self._largest, len(outcome))
        if len(outcome) <= AT_ONCE_BYTES and self._kept_bytes < self._budget.load_bytes:
            async with self._turn:
                self._take_in(name, outcome)
        else:
            await self._in_turn(self._take_in, name, outcome)
        self._kept.add(name.index)
        return None

    def _take_in(self, name: TaskName, outcome: bytes) -> None:
        place = self._partitions[name.index].start  # tasks may get their rows in another order than their names
        if self._phase is Phase.MAP:
            self._shuffle.add(place, portions(outcome))
        elif self._lines is not None:
            self._lines.add(place, portions(outcome))
        else:
            self._yielded[place] = tuple(chain.from_iterable(portions(outcome)))

    async def set_aside(self, name: TaskName, outcome: bytes) -> Failure | None:
        """Keep what a task came to for the time being: until ``keep`` has something else in its place, or the phase
        ends. Return the failure if it is one. Raises as ``keep`` does."""
        failure = read_failure(outcome)
        if failure is None:
            self._partitions.computed(name.index)
            self._aside[name.index] = await self._in_turn(self._put_aside, outcome)
        return failure

    def _put_aside(self, outcome: bytes) -> bytes | range:
        for _ in portions(outcome):
            pass  # that it can be read is to be known now, while others can still be asked
        if self._spills is None:
            return outcome
        if self._aside_spill is None:
            self._aside_spill = self._spills()
        start = self._aside_spill.append(outcome)
        return range(start, start + len(outcome))

    def _take_back(self) -> None:
        """Take in what was set aside, the phase being over."""
        for index, place in sorted(self._aside.items(), key=itemgetter(0)):
            outcome = place
            if isinstance(outcome, range):
                assert self._aside_spill is not None  # noqa: S101 - it is where the range is from
                outcome = self._aside_spill.read(outcome.start, outcome.stop)
            self._take_in(TaskName(phase=self._phase, index=index), outcome)
        self._aside.clear()
        self._close_aside()

    def _close_aside(self) -> None:
        if self._aside_spill is not None:
            self._aside_spill.close()
            self._aside_spill = None

    # --- between the phases, and at the end ---------------------------------------------------------------------------

    async def shuffle(self) -> None:
        """Make what the map tasks yielded the rows of the reduce phase; let go of the map phase's rows.

        Raises KeyCollision, KeyNotHashable, JobDefinitionError, SpillFailed.
        """
        await self._in_turn(self._take_back)
        self._rows.close()
        self._rows = await self._in_turn(self._shuffle.rows)

    async def result(self) -> dict[Any, Any]:
        """Return what the reduce tasks yielded. Raises KeyCollision, KeyNotHashable, JobDefinitionError."""
        await self._in_turn(self._take_back)
        ordered = [self._yielded[place] for place in sorted(self._yielded)]
        return await self._in_turn(merge_results, ordered)

    async def write(self, write: Callable[[Iterable[bytes]], None]) -> None:
        """Have what the reduce tasks yielded written, as lines in the order of the result. Raises what ``result`` does,
        before anything is written, SpillFailed, and what ``write`` raises."""
        lines = self._lines
        if lines is not None:
            await self._in_turn(self._take_back)
            await self._in_turn(lines.check)
            await self._in_turn(lambda: write(lines.lines()))

    def close(self) -> None:
        """Forget everything. May be called twice."""
        self._rows.close()
        self._close_aside()
        self._shuffle.close()
        if self._lines is not None:
            self._lines.close()

    async def _in_turn(self, act: Callable[..., T], *arguments: Any) -> T:
        async with self._turn:
            return await asyncio.to_thread(act, *arguments)
