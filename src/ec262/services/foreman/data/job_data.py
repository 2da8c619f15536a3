"""A job's data from phase to phase: the rows of the current phase, and what its tasks yielded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from itertools import chain
from typing import Any, TypeVar

from ec262.domain.errors import KeyCollision, PhaseOver
from ec262.domain.foreman.data.groups import Table
from ec262.domain.foreman.data.key_check import Clash, KeyTrial
from ec262.domain.foreman.data.memory_budget import MemoryBudget
from ec262.domain.foreman.data.portions import portions, read_ending
from ec262.domain.foreman.data.shuffle import ResultLines, Shuffle, merge_results
from ec262.domain.foreman.data.sizing import TimedCut
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.foreman.job.plan import Plan
from ec262.domain.ports.clock import Entropy
from ec262.domain.ports.rows import Rows
from ec262.domain.ports.spill import Spills
from ec262.domain.work.outcome import Failure, Pair, Stopped
from ec262.domain.work.work import Limits, Phase, TaskName
from ec262.domain.work.work_hash import WorkBinding
from ec262.services.foreman.data.byte_budget import Room
from ec262.services.foreman.data.partitions import Grow
from ec262.services.foreman.data.phase_data import PhaseData

T = TypeVar("T")

AT_ONCE_BYTES = 256 << 10
"""Outcomes up to this size are processed in the event loop; larger ones, and all once many have come, in a thread."""

COPIES = 3
"""Copies of a result in memory while it arrives: as a message, decrypted, and decoded."""


class JobData:
    """The data of one run of one job, one phase at a time: ``cut_map``, then ``payload`` and ``keep`` for each task,
    then ``shuffle`` and ``cut`` again, finally ``result`` or ``write``.

    Everything that belongs to a phase is in its ``PhaseData`` and ends with it; tasks are always looked up by phase and
    index. Memory holds up to ``budget`` of the data, and ``spills`` the rest. ``limits`` are sent with each task and
    are part of its work hash. ``entropy`` draws nonces. With ``as_lines``, memory never holds the whole result, which
    can then be written but not returned.
    """

    def __init__(
        self,
        job: Job,
        spills: Spills | None,
        budget: MemoryBudget,
        *,
        limits: Limits,
        entropy: Entropy,
        as_lines: bool = False,
    ) -> None:
        self._job = job
        self._limits = limits
        self._entropy = entropy
        self._budget = budget
        self._spills = spills
        self._shuffle = Shuffle(spills, budget, numbered=job.partitioned)
        self._lines = ResultLines(spills, budget) if as_lines else None
        self._result_keys = ResultLines()
        self._yielded: dict[int, tuple[Pair, ...]] = {}
        self._kept: set[TaskName] = set()
        self._kept_bytes = self._largest = 0
        self._sending = Room(budget.travel_bytes)
        self._arriving = Room(2 * budget.travel_bytes)
        # One operation at a time: each takes memory of its own while it runs.
        self._turn = asyncio.Lock()
        self._current = self._phase_data(Phase.MAP, job.rows)

    def _phase_data(self, phase: Phase, rows: Rows) -> PhaseData:
        return PhaseData(
            phase,
            rows,
            self._job,
            self._limits,
            entropy=self._entropy,
            sending=self._sending,
            in_turn=self._in_turn,
            spills=self._spills,
        )

    @property
    def sizes(self) -> Sequence[int]:
        """The bytes of each piece of the phase's rows; a piece is never cut."""
        return self._current.sizes

    def cut(self, phase: Phase, tasks: int) -> tuple[TaskName, ...]:
        """Cut the rows of the current phase into this many partitions; return the names of their tasks. Raises
        PhaseOver if another phase is in progress."""
        return self._of(phase).cut(tasks)

    def cut_map(self, plan: Plan, grow: Grow, *, hold: bool = False) -> tuple[TaskName, ...]:
        """Cut the rows as planned; if by time, then as workers become ready for them. Return the names of the first
        tasks, and pass those of later tasks to ``grow``. ``hold`` is as in ``TimedCut``."""
        if not plan.is_sized(len(self.sizes)):
            return self.cut(Phase.MAP, plan.map_tasks)
        timed = TimedCut(
            self.sizes,
            at_once=plan.at_once,
            most_tasks=plan.most_map_tasks,
            most_bytes=plan.partition_bytes,
            most_result_bytes=self._limits.output_bytes,
            hold=hold,
        )
        return self._of(Phase.MAP).cut_by_time(timed, grow)

    def took(self, name: TaskName, seconds: float) -> None:
        """Record how long a worker says it took to compute a task. Ignored if the task's phase is over."""
        if name.phase is self._current.phase:
            self._current.took(name, seconds)

    @property
    def tasks_to_come(self) -> int:
        """About how many more tasks the phase will have, beyond those that have names."""
        return self._current.tasks_to_come

    def _of(self, phase: Phase) -> PhaseData:
        """Return the data of the current phase. Raises PhaseOver if ``phase`` is another one."""
        if phase is not self._current.phase:
            raise PhaseOver(f"the {phase.value} phase is not in progress")
        return self._current

    # --- to the workers -----------------------------------------------------------------------------------------------

    def payload(self, name: TaskName) -> AbstractAsyncContextManager[bytes]:
        """Provide a task's serialized rows while the context lasts, as soon as there is memory for them.

        Raises PhaseOver, SpillFailed, and JobDefinitionError if the rows can no longer be read.
        """
        return self._of(name.phase).payload(name)

    async def packed(self, name: TaskName) -> bytes | None:
        """Pack a task's rows, once for all its workers and while their context lasts; return None if packing does not
        pay."""
        return await self._of(name.phase).packed(name)

    def binding(self, name: TaskName) -> WorkBinding | None:
        """Return what the results of a task are bound to; only results bound to it are opened. None if the task has not
        been given work yet. Raises PhaseOver."""
        return self._of(name.phase).binding(name)

    # --- from the workers ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def arriving(self, name: TaskName) -> AsyncIterator[None]:
        """Reserve memory for the result of a task while the context lasts. Its size is unknown until it has arrived;
        the estimate is the size of the largest result so far, or else that of the task's rows.

        Raises PhaseOver.
        """
        size = COPIES * (self._largest or self._of(name.phase).bytes_of(name))
        await self._arriving.take(size)
        try:
            yield
        finally:
            self._arriving.give(size)

    async def keep(self, name: TaskName, outcome: bytes) -> Failure | Stopped | None:
        """Process the canonical bytes of a task's outcome, once per task; return how the task ended if it yielded no
        pairs.

        Raises NotCanonical if the bytes are not an outcome, KeyNotHashable, SpillFailed, PhaseOver; then nothing is
        kept.
        """
        current = self._of(name.phase)
        ending = read_ending(outcome)
        if ending is not None or name in self._kept:
            return ending
        current.yielded(name, len(outcome))
        current.drop_aside(name)
        self._kept_bytes += len(outcome)
        self._largest = max(self._largest, len(outcome))
        place = current.place(name)
        if len(outcome) <= AT_ONCE_BYTES and self._kept_bytes < self._budget.load_bytes:
            async with self._turn:
                self._take_in(name.phase, place, outcome)
        else:
            await self._in_turn(self._take_in, name.phase, place, outcome)
        self._kept.add(name)
        return None

    def _take_in(self, phase: Phase, place: int, outcome: bytes) -> None:
        if phase is Phase.MAP:
            self._shuffle.add(place, portions(outcome))
        elif self._lines is not None:
            self._lines.add(place, portions(outcome))
        else:
            self._yielded[place] = tuple(chain.from_iterable(self._looked_at(phase, outcome)))

    def _looked_at(self, phase: Phase, outcome: bytes) -> Iterator[Sequence[Pair]]:
        """Yield the pairs of an outcome. Raises NotCanonical if they cannot be read or lack the partitioner's numbers,
        and KeyNotHashable if a key cannot be the key of a dict."""
        for portion in portions(outcome):
            self._keys_of(phase).look(portion)
            yield portion

    def _keys_of(self, phase: Phase) -> Shuffle | ResultLines:
        """Return the object that checks the keys of a phase."""
        return self._shuffle if phase is Phase.MAP else self._lines or self._result_keys

    async def set_aside(self, name: TaskName, outcome: bytes) -> Failure | Stopped | None:
        """Keep a task's outcome provisionally, until ``keep`` replaces it or the phase ends. Return how the task ended
        if it yielded no pairs. Raises what ``keep`` raises."""
        current = self._of(name.phase)
        ending = read_ending(outcome)
        if ending is None:
            current.yielded(name, len(outcome))
            await self._in_turn(deque, self._looked_at(name.phase, outcome), 0)  # while others can still be asked
            await self._in_turn(current.set_aside, name, outcome)
        return ending

    def _take_back(self) -> None:
        """Process what was set aside, at the end of a phase."""
        for name, outcome in self._current.take_back():
            self._take_in(name.phase, self._current.place(name), outcome)

    # --- what would end the job ---------------------------------------------------------------------------------------

    async def clash(self, doubted: Collection[TaskName]) -> tuple[Clash | None, tuple[TaskName, ...]]:
        """Return the keys of the phase that cannot coexist, if any, and the ``doubted`` tasks, set aside, without which
        one of these keys would not exist. Raises SpillFailed, JobDefinitionError."""
        return await self._in_turn(self._clash, frozenset(doubted))

    def _clash(self, doubted: frozenset[TaskName]) -> tuple[Clash | None, tuple[TaskName, ...]]:
        if not self._keys_of(self._current.phase).in_doubt:
            return None, ()
        prefix = self._shuffle.prefix if self._current.phase is Phase.MAP else 0
        trial = KeyTrial(
            self._spills, memory_bytes=self._budget.load_bytes, load_bytes=self._budget.load_bytes, prefix=prefix
        )
        trial.take(self._taken_in())
        for _, outcome in self._current.aside():
            trial.take(self._tables_of(outcome))
        clash = trial.clash()
        if clash is None:
            return None, ()

        def among(tables: Iterable[Table]) -> set[bytes]:
            return {name for names, _ in tables for name in names if name[prefix:] in clash.names}

        known = among(self._taken_in())
        found: dict[TaskName, set[bytes]] = {
            name: names for name, outcome in self._current.aside() if (names := among(self._tables_of(outcome)))
        }
        for name in found.keys() - doubted:
            known |= found[name]
        asked: list[TaskName] = []
        for name, names in found.items():
            if names - known:
                asked.append(name)
                known |= names
        return clash.told_of(_where(self._current.phase)), tuple(asked)

    def _taken_in(self) -> Iterator[Table]:
        if self._current.phase is Phase.REDUCE and self._lines is None:
            return map(self._result_keys.table, self._yielded.values())
        return self._keys_of(self._current.phase).tables()

    def _tables_of(self, outcome: bytes) -> Iterator[Table]:
        return map(self._keys_of(self._current.phase).table, portions(outcome))

    # --- between the phases, and at the end ---------------------------------------------------------------------------

    async def shuffle(self) -> None:
        """End the map phase, and begin the reduce phase with the map tasks' pairs as its rows.

        Raises KeyCollision, KeyNotHashable, JobDefinitionError, SpillFailed.
        """
        mapped = self._of(Phase.MAP)
        await self._in_turn(self._take_back)
        await self._in_turn(mapped.close)
        with _saying_where(Phase.MAP):
            rows = await self._in_turn(self._shuffle.rows)
        self._current = self._phase_data(Phase.REDUCE, rows)
        self._kept.clear()
        self._kept_bytes = self._largest = 0

    async def result(self) -> dict[Any, Any]:
        """Return what the reduce tasks yielded. Raises KeyCollision, KeyNotHashable, JobDefinitionError."""
        await self._in_turn(self._take_back)
        ordered = [self._yielded[place] for place in sorted(self._yielded)]
        with _saying_where(Phase.REDUCE):
            return await self._in_turn(merge_results, ordered)

    async def write(self, write: Callable[[Iterable[bytes]], None]) -> None:
        """Write what the reduce tasks yielded, as lines in the order of the result. Raises what ``result`` raises,
        before anything is written; SpillFailed; and what ``write`` raises."""
        lines = self._lines
        if lines is not None:
            await self._in_turn(self._take_back)
            with _saying_where(Phase.REDUCE):
                await self._in_turn(lines.check)
            await self._in_turn(lambda: write(lines.lines()))

    def close(self) -> None:
        """Discard everything. May be called twice."""
        self._current.close()
        self._shuffle.close()
        if self._lines is not None:
            self._lines.close()

    async def _in_turn(self, act: Callable[..., T], *arguments: Any) -> T:
        async with self._turn:
            return await asyncio.to_thread(act, *arguments)


@contextmanager
def _saying_where(phase: Phase) -> Iterator[None]:
    try:
        yield
    except KeyCollision as error:
        raise error.yielded_by(_where(phase)) from None


def _where(phase: Phase) -> str:
    return f"the {phase.value} phase"
