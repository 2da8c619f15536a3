"""The check of a job's determinism_check, over sandboxes that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from ec262.domain.errors import KeyNotHashable, SandboxCrashed, SandboxLimitExceeded, TaskLimitExceeded, UserCodeFailed
from ec262.domain.foreman.data.partition import encode_row
from ec262.domain.foreman.data.row_spool import held
from ec262.domain.foreman.job.determinism import (
    ADDRESSES,
    CAUSES,
    ELSEWHERE,
    HERE,
    STILL,
    UNKNOWN,
    Circumstances,
    PhaseCheck,
    packing_cause,
)
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.values import canonical
from ec262.domain.work.outcome import Failure, Outcome, Pairs, encode_outcome
from ec262.domain.work.work import Computed, Limits, Phase, Work
from ec262.services.foreman import determinism_check
from ec262.services.foreman.determinism_check import DeterminismCheck
from tests.unit.services.worker.worker_doubles import RUNTIME

CHANCE, CLOCK, HASHES = CAUSES
LIMITS = Limits(cpu_s=7)

Act = Callable[[Phase, Circumstances, list[Any]], Any]


class Box:
    """A sandbox of one hash seed; ``act`` gets phase, circumstances and keys, and returns pairs, or raises."""

    runtime = RUNTIME

    def __init__(self, seed: int, act: Act, known: dict[bytes, Circumstances]) -> None:
        self.seed = seed
        self.act = act
        self.known = known
        self.works: list[Work] = []
        self.changed: dict[Phase, Any] = {Phase.MAP: [], Phase.REDUCE: []}
        """What watched functions yield, or raise."""

    async def start(self) -> None:
        """Nothing to get ready."""

    async def run(self, work: Work, limits: Limits) -> Computed:
        assert limits == LIMITS
        self.works.append(work)
        await asyncio.sleep(0)
        keys = [key for key, _ in canonical.decode(work.rows)]
        if work.functions == b"watched":
            came_to: Any = self.changed[work.phase]
            if isinstance(came_to, Exception):
                raise came_to
        else:
            where = self.known[work.functions]
            assert where.hash_seed == self.seed
            came_to = self.act(work.phase, where, keys)
        outcome: Outcome = came_to if isinstance(came_to, Failure) else Pairs(pairs=tuple(came_to))
        return Computed(outcome=encode_outcome(outcome), log=b"the log")

    async def close(self) -> None:
        """Nothing to free."""


class Trial:
    """A check of a job with some rows, whose keys are 0, 1, ..."""

    def __init__(self, act: Act, *, rows: int = 10, size: int = 0) -> None:
        known: dict[bytes, Circumstances] = {}

        def vary(functions: bytes, where: Circumstances) -> bytes:
            if functions == b"watched":
                return functions
            assert functions == b"functions"
            known[repr(where).encode()] = where
            return repr(where).encode()

        def watch(functions: bytes, phase: Phase) -> bytes:
            assert functions == b"functions"
            return b"watched"

        self.boxes = {seed: Box(seed, act, known) for seed in (0, 1)}
        self.check = DeterminismCheck(self.boxes, vary, watch, LIMITS)
        self.rows = [encode_row(key, "x" * size) for key in range(rows)]
        self.job = Job(
            functions=b"functions",
            rows=held(self.rows),
            requirement=Requirement(python=RUNTIME.python),
            seed=5,
            round_floats=9,
        )

    async def run(self) -> tuple[PhaseCheck, ...]:
        return await self.check.run(self.job, self.rows)

    @property
    def works(self) -> list[Work]:
        return [work for box in self.boxes.values() for work in box.works]


def constant(_phase: Phase, _where: Circumstances, keys: list[Any]) -> Any:
    return [(key % 2, 1) for key in keys]


async def test_a_job_that_is_the_same_everywhere_is_computed_twice_and_once_more_in_smaller_tasks() -> None:
    trial = Trial(constant)
    mapped, reduced = await trial.run()
    assert (mapped.phase, mapped.rows, mapped.finding) == (Phase.MAP, 10, None)
    assert (reduced.phase, reduced.rows, reduced.finding) == (Phase.REDUCE, 2, None)
    assert mapped.repacked
    assert reduced.repacked
    assert [work.phase for work in trial.boxes[0].works[:2]] == [Phase.MAP, Phase.REDUCE]
    assert [[key for key, _ in canonical.decode(work.rows)] for work in trial.boxes[0].works[2:]] == [
        *([key] for key in range(5)),
        list(range(5, 10)),
        [0, 1],
        [0],
        [1],
    ]
    assert [work.phase for work in trial.boxes[1].works] == [Phase.MAP, Phase.REDUCE]
    assert {(work.seed, work.round_floats) for work in trial.works} == {(5, 9)}
    assert trial.boxes[0].works[1].rows == b"[[0,[1,1,1,1,1]],[1,[1,1,1,1,1]]]"
    assert [trial.boxes[0].works[0].functions, trial.boxes[1].works[0].functions] == [
        repr(where).encode() for where in (HERE, ELSEWHERE)
    ]


async def test_a_mapper_that_yields_nothing_leaves_nothing_to_reduce() -> None:
    [mapped] = await Trial(lambda *_: []).run()
    assert mapped.finding is None


@pytest.mark.parametrize("guilty", [0, 4, 5, 9])
async def test_the_row_that_differs_is_named(guilty: int) -> None:
    def act(phase: Phase, where: Circumstances, keys: list[Any]) -> Any:
        return [(key, where.hash_seed if key == guilty and phase is Phase.MAP else 7) for key in keys]

    mapped, reduced = await Trial(act).run()
    assert mapped.finding is not None
    assert mapped.finding.row == str(guilty)
    assert mapped.finding.difference.where == f"the value of the key {guilty}"
    assert (mapped.finding.difference.first, mapped.finding.difference.second) == ("0 (int)", "1 (int)")
    assert mapped.finding.causes == (HASHES.told,)
    assert reduced.finding is None


async def test_the_reducer_is_tried_with_what_the_mapper_gave() -> None:
    def act(phase: Phase, where: Circumstances, keys: list[Any]) -> Any:
        return [(f"k{key}", where.clock_shift_s > 0 and phase is Phase.REDUCE and key == "k3") for key in keys]

    mapped, reduced = await Trial(act).run()
    assert mapped.finding is None
    assert reduced.finding is not None
    assert reduced.finding.row == "'k3'"
    assert reduced.finding.causes == (UNKNOWN,)


async def test_rows_that_differ_only_together() -> None:
    def act(_phase: Phase, where: Circumstances, keys: list[Any]) -> Any:
        return [("rows", len(keys) if len(keys) < 3 else where.hash_seed)]

    mapped, _ = await Trial(act, rows=5).run()
    assert mapped.finding is not None
    assert mapped.finding.row is None


def other_each_time(always: Callable[[Circumstances], bool]) -> Callable[[Circumstances], Any]:
    calls = iter(range(1000))
    return lambda where: 0 if always(where) else next(calls)


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (lambda where: where.moved, (ADDRESSES.told,)),
        (other_each_time(lambda where: where.counted), (CHANCE.told,)),
        (other_each_time(lambda where: where.ticking), (CLOCK.told,)),
        (lambda where: [where.hash_seed, where.ticking], (CLOCK.told, HASHES.told)),
        (lambda where: where == ELSEWHERE, (UNKNOWN,)),
    ],
    ids=["addresses", "chance", "clock", "clock and hashes", "unknown"],
)
async def test_a_change_that_alters_the_result_by_itself_is_the_cause(
    seen: Callable[[Circumstances], Any], told: tuple[str, ...]
) -> None:
    mapped, *_ = await Trial(lambda _phase, where, keys: [(key, seen(where)) for key in keys], rows=1).run()
    assert mapped.finding is not None
    assert mapped.finding.causes == told


async def test_a_cause_has_to_show_each_time() -> None:
    asked: list[Circumstances] = []

    def act(_phase: Phase, where: Circumstances, keys: list[Any]) -> Any:
        asked.append(where)
        odd_one = where == ELSEWHERE or (where.hash_seed and asked.count(where) == 1)
        return [(key, bool(odd_one)) for key in keys]

    mapped, *_ = await Trial(act, rows=1).run()
    assert mapped.finding is not None
    assert mapped.finding.causes == (UNKNOWN,)


async def test_how_a_try_ended_is_a_result_too() -> None:
    def act(_phase: Phase, where: Circumstances, keys: list[Any]) -> Any:
        if where == attrs.evolve(STILL, hash_seed=1):
            raise SandboxCrashed("gone")
        return [(key, where.hash_seed) for key in keys]

    mapped, *_ = await Trial(act, rows=1).run()
    assert mapped.finding is not None
    assert mapped.finding.causes == (HASHES.told,)


async def test_a_failure_that_is_the_same_everywhere_is_the_jobs() -> None:
    failure = Failure(function="mapper", exception="ValueError", row="3", frames=())
    with pytest.raises(UserCodeFailed, match="the mapper raised ValueError at the row with key 3") as caught:
        await Trial(lambda *_: failure).run()
    assert caught.value.report == "the log"


async def test_a_failure_that_is_not_is_a_difference() -> None:
    def act(_phase: Phase, where: Circumstances, keys: list[Any]) -> Any:
        if where.hash_seed == 0:
            return Failure(function="mapper", exception="ValueError", row="0", frames=())
        return [(key, 1) for key in keys]

    [mapped] = await Trial(act).run()
    assert mapped.finding is not None
    assert mapped.finding.difference.where == "how it ended"
    assert mapped.finding.row == "0"


async def test_a_reducers_failure_after_a_mappers_finding_is_not_reported() -> None:
    def act(phase: Phase, where: Circumstances, keys: list[Any]) -> Any:
        if phase is Phase.REDUCE:
            return Failure(function="reducer", exception="TypeError", row="0", frames=())
        return [(key, where.hash_seed) for key in keys]

    [mapped] = await Trial(act).run()
    assert mapped.finding is not None


async def test_a_limit_is_reported_with_what_was_tried() -> None:
    def act(_phase: Phase, where: Circumstances, _keys: list[Any]) -> Any:
        if where == HERE:
            raise SandboxLimitExceeded("cpu", "7 s in the mapper")
        return []

    with pytest.raises(TaskLimitExceeded, match=r"a trial of 10 row\(s\) of the map phase exceeded its cpu limit: 7 s"):
        await Trial(act).run()


async def test_keys_that_are_not_allowed_are_reported() -> None:
    with pytest.raises(KeyNotHashable):
        await Trial(lambda *_: [([1], 1)]).run()


async def test_large_rows_are_tried_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(determinism_check, "PARTITION_BYTES", 1000)
    trial = Trial(constant, size=300)
    mapped, reduced = await trial.run()
    assert (mapped.finding, reduced.finding) == (None, None)
    maps = [canonical.decode(work.rows) for work in trial.boxes[1].works if work.phase is Phase.MAP]
    assert [key for rows in maps for key, _ in rows] == list(range(10))
    assert len(maps) == 4


async def test_the_first_finding_of_a_phase_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(determinism_check, "PARTITION_BYTES", 1000)
    mapped, *_ = await Trial(lambda _phase, where, keys: [(keys[0], where.hash_seed)], size=300).run()
    assert mapped.finding is not None
    assert mapped.finding.row == "0"


# --- packing --------------------------------------------------------------------------------------------------------


def numbered(phase: Phase) -> Act:
    """Functions that count the rows of a task in one phase, and yield the count."""

    def act(at: Phase, _where: Circumstances, keys: list[Any]) -> Any:
        return [(key, count if at is phase else 0) for count, key in enumerate(keys)]

    return act


def adding(phase: Phase, _where: Circumstances, keys: list[Any]) -> Any:
    """A combiner that is given what a task's rows yield: other values in other tasks, but one result."""
    return [("sum", len(keys) if phase is Phase.MAP else 10)]


@pytest.mark.parametrize("phase", [*Phase])
async def test_how_rows_are_packed_must_not_matter(phase: Phase) -> None:
    trial = Trial(numbered(phase) if phase is Phase.REDUCE else counted_in_map)
    trial.boxes[0].changed[phase] = [("the global 'rng' (random.Random)", 1), ("the global 'n' (int)", 1)]
    checks = {check.phase: check for check in await trial.run()}
    finding = checks.pop(phase).finding
    assert finding is not None
    assert finding.row is None
    [cause] = finding.causes
    assert "a row changes the global 'n' (int), the global 'rng' (random.Random), and the next row" in cause
    assert [check.finding for check in checks.values()] == [None]


def counted_in_map(phase: Phase, _where: Circumstances, keys: list[Any]) -> Any:
    """As ``numbered``, but the reducer yields what the mapper counted: the keys have it."""
    return [((key, count), 0) for count, key in enumerate(keys)] if phase is Phase.MAP else [(key, 0) for key in keys]


async def test_combined_values_may_differ_with_the_packing_if_the_result_does_not() -> None:
    mapped, reduced = await Trial(adding).run()
    assert (mapped.finding, reduced.finding) == (None, None)


@pytest.mark.parametrize(
    "seen", [[], SandboxCrashed("gone"), Failure(function="mapper", exception="X", row="1", frames=())]
)
async def test_where_no_state_is_seen_the_cause_says_what_it_may_be(seen: Any) -> None:
    trial = Trial(counted_in_map)
    trial.boxes[0].changed[Phase.MAP] = seen
    mapped, _ = await trial.run()
    assert mapped.finding is not None
    assert mapped.finding.causes == (packing_cause([]),)


async def test_a_failure_in_smaller_tasks_is_a_difference() -> None:
    def act(phase: Phase, _where: Circumstances, keys: list[Any]) -> Any:
        if phase is Phase.MAP and len(keys) < 10:
            return Failure(function="mapper", exception="KeyError", row=str(keys[0]), frames=())
        return [(key, 1) for key in keys]

    mapped, _ = await Trial(act).run()
    assert mapped.finding is not None
    assert mapped.finding.difference.where == "how it ended"


async def test_a_single_row_has_no_other_packing() -> None:
    checks = await Trial(lambda *_: [("k", 1)], rows=1).run()
    assert [check.repacked for check in checks] == [False, False]


async def test_a_limit_in_smaller_tasks_is_reported() -> None:
    def act(_phase: Phase, _where: Circumstances, keys: list[Any]) -> Any:
        if len(keys) == 5:
            raise SandboxLimitExceeded("cpu", "7 s in the mapper")
        return [(key, 1) for key in keys]

    with pytest.raises(TaskLimitExceeded, match=r"a trial of 5 row\(s\) of the map phase exceeded its cpu limit: 7 s"):
        await Trial(act).run()
