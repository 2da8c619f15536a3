"""A job's data: rows on their way to workers, results on their way back, and jobs that take more than memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import pytest

from ec262.adapters.memory.spill import MemorySpill
from ec262.domain.errors import JobDefinitionError, NotCanonical, PhaseOver, SpillFailed, UserCodeFailed
from ec262.domain.foreman.data.memory_budget import DEFAULT_BUDGET, MemoryBudget, parse_bytes
from ec262.domain.values import canonical
from ec262.domain.work.outcome import Failure, Outcome, Pairs, encode_outcome
from ec262.domain.work.work import Limits, Phase, TaskName, Work
from ec262.domain.work.work_hash import work_hash
from ec262.services.foreman.data.job_data import AT_ONCE_BYTES, JobData
from tests.system import FOREMAN_POLICY, WORD_COUNT, add_up, make_job, memory_system, new_job_data

TEXT = {number: f"the quick fox {number % 7} and the lazy dog" for number in range(60)}
SMALL = MemoryBudget(1000)


def name(index: int, phase: Phase = Phase.MAP) -> TaskName:
    return TaskName(phase=phase, index=index)


def yielded(*pairs: Any) -> bytes:
    return encode_outcome(Pairs(pairs=pairs))


def data_of(rows: int = 6, budget: MemoryBudget = DEFAULT_BUDGET, **given: Any) -> JobData:
    return new_job_data(make_job(dict.fromkeys(range(rows), "x")), MemorySpill, budget, **given)


class Counted:
    """Rows that count how often they are read, and may fail or take their time."""

    def __init__(self, data: JobData) -> None:
        self._rows, self.reads = data._current._rows, 0
        self.error: Exception | None = None
        self.shift = 0
        data._current._rows = self  # type: ignore[assignment]  # all of Rows that is needed here

    @property
    def sizes(self) -> Any:
        return self._rows.sizes

    def payload(self, pieces: range) -> bytes:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self._rows.payload(range(pieces.start + self.shift, pieces.stop + self.shift))


async def test_workers_of_a_task_share_its_rows_and_then_they_are_let_go() -> None:
    data = data_of()
    rows = Counted(data)
    assert data.cut(Phase.MAP, 2) == (name(0), name(1))
    async with data.payload(name(0)) as first, data.payload(name(0)) as second, data.payload(name(1)) as other:
        assert first is second
        assert canonical.decode(first) + canonical.decode(other) == [[number, "x"] for number in range(6)]
    assert rows.reads == 2
    async with data.payload(name(0)) as again:
        assert again == first
    assert rows.reads == 3
    assert data._sending._free == DEFAULT_BUDGET.travel_bytes


async def test_rows_that_cannot_be_read_fail_every_worker_and_take_no_room() -> None:
    data = data_of()
    rows = Counted(data)
    rows.error = JobDefinitionError("it has changed")
    data.cut(Phase.MAP, 1)

    async def enter() -> None:
        async with data.payload(name(0)):
            raise AssertionError

    results = await asyncio.gather(enter(), enter(), return_exceptions=True)
    assert [str(result) for result in results] == ["it has changed"] * 2
    assert data._sending._free == DEFAULT_BUDGET.travel_bytes


async def test_tasks_wait_for_room_and_who_is_cancelled_takes_none() -> None:
    data = data_of(budget=MemoryBudget(100))
    data.cut(Phase.MAP, 2)
    entered: list[int] = []

    async def enter(index: int) -> None:
        async with data.payload(name(index)):
            entered.append(index)

    async with data.payload(name(0)):
        waiting = [asyncio.create_task(enter(1)) for _ in range(2)]
        await asyncio.sleep(0.01)
        assert not entered
        waiting[0].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert entered == [1]
    assert data._sending._free == 12


async def test_results_wait_for_room() -> None:
    data = data_of(budget=MemoryBudget(100))
    data.cut(Phase.MAP, 1)
    async with data.arriving(name(0)):
        second = asyncio.create_task(data.arriving(name(0)).__aenter__())
        await asyncio.sleep(0.01)
        assert not second.done()
    await second


@pytest.mark.parametrize("size", [1, AT_ONCE_BYTES + 1])
async def test_an_outcome_is_kept_once_and_only_if_it_is_one(size: int) -> None:
    data = data_of()
    data.cut(Phase.MAP, 2)
    with pytest.raises(NotCanonical):
        await data.keep(name(0), yielded(("a", "x" * size)).replace(b'"a"', b' "a"'))
    for _ in range(2):
        assert await data.keep(name(0), yielded(("a", "x" * size), ("b", 2))) is None
    assert await data.keep(name(1), yielded(("b", 3))) is None
    await data.shuffle()
    assert data.cut(Phase.REDUCE, 1) == (name(0, Phase.REDUCE),)
    async with data.payload(name(0, Phase.REDUCE)) as rows:
        assert canonical.decode(rows) == [["a", ["x" * size]], ["b", [2, 3]]]
    data.close()
    data.close()


async def test_a_failure_is_reported_and_not_cached() -> None:
    data = data_of()
    data.cut(Phase.MAP, 1)
    failure: Outcome = Failure(function="mapper", exception="E", row=None, frames=())
    assert await data.keep(name(0), encode_outcome(failure)) == failure
    await data.shuffle()
    assert list(data.sizes) == []
    assert data.cut(Phase.REDUCE, 0) == ()
    assert await data.result() == {}


async def test_without_lines_there_is_nothing_to_write() -> None:
    written: list[Iterable[bytes]] = []
    await data_of().write(written.append)
    assert written == []


# --- late for its phase -----------------------------------------------------------------------------------------------


async def reducing() -> JobData:
    """The data of a job whose map phase had two tasks, and whose reduce phase has two as well."""
    data = data_of()
    data.cut(Phase.MAP, 2)
    for index in range(2):
        async with data.payload(name(index)):
            pass
        await data.keep(name(index), yielded(("a", index), ("b", index)))
    await data.shuffle()
    data.cut(Phase.REDUCE, 2)
    return data


async def test_a_task_of_a_phase_that_is_over_gets_no_rows() -> None:
    data = await reducing()
    with pytest.raises(PhaseOver, match="map"):
        async with data.payload(name(0)):
            raise AssertionError
    async with data.payload(name(0, Phase.REDUCE)) as rows:
        assert canonical.decode(rows) == [["a", [0, 1]]]


@pytest.mark.parametrize("early", [True, False])
async def test_a_task_of_a_later_phase_gets_none_either(*, early: bool) -> None:
    data = data_of() if early else await reducing()
    with pytest.raises(PhaseOver):
        data.cut(Phase.REDUCE if early else Phase.MAP, 2)
    with pytest.raises(PhaseOver):
        await data.keep(name(0, Phase.REDUCE if early else Phase.MAP), yielded(("a", 1)))
    with pytest.raises(PhaseOver):
        data.binding(name(0, Phase.REDUCE if early else Phase.MAP))


async def test_rows_that_are_still_being_sent_stay_those_of_their_phase() -> None:
    data = data_of()
    data.cut(Phase.MAP, 1)
    async with data.payload(name(0)) as mapped:
        await data.keep(name(0), yielded(("a", 1)))
        await data.shuffle()
        data.cut(Phase.REDUCE, 1)
        async with data.payload(name(0, Phase.REDUCE)) as reduced:
            assert canonical.decode(mapped) == [[number, "x"] for number in range(6)]
            assert canonical.decode(reduced) == [["a", [1]]]
    assert data._sending._free == DEFAULT_BUDGET.travel_bytes


async def test_a_task_that_waits_for_memory_until_its_phase_is_over_gets_no_rows() -> None:
    data = data_of(budget=MemoryBudget(100))
    data.cut(Phase.MAP, 2)
    async with data.payload(name(0)):
        waiting = asyncio.create_task(data.payload(name(1)).__aenter__())
        await asyncio.sleep(0.01)
        await data.shuffle()
    with pytest.raises(PhaseOver):
        await waiting


async def test_times_of_an_earlier_phase_are_passed_over() -> None:
    data = await reducing()
    data.took(name(0), 1.0)
    data.took(name(7), 1.0)
    data.took(name(0, Phase.REDUCE), 1.0)


async def test_the_hash_of_a_tasks_work_is_fixed_when_its_rows_are_first_read() -> None:
    limits = Limits(cpu_s=7)
    data = data_of(limits=limits)
    data.cut(Phase.MAP, 2)
    assert data.binding(name(0)) is None
    async with data.payload(name(0)) as rows, data.payload(name(1)):
        work = Work(phase=Phase.MAP, functions=data._job.functions, rows=rows, seed=0)
        first, second = data.binding(name(0)), data.binding(name(1))
        assert first is not None
        assert second is not None
        assert first.work_hash == work_hash(work, limits)
        assert first.nonce != second.nonce
    async with data.payload(name(0)):
        assert data.binding(name(0)) == first


async def test_rows_that_change_between_two_readings_are_not_sent() -> None:
    data = data_of()
    rows = Counted(data)
    data.cut(Phase.MAP, 2)
    async with data.payload(name(0)):
        pass
    rows.shift = 1
    with pytest.raises(SpillFailed, match="the rows of map task 1 have changed since they were first read"):
        async with data.payload(name(0)):
            raise AssertionError


# --- whole jobs -------------------------------------------------------------------------------------------------------


async def run(
    data: Mapping[Any, Any], functions: Any, budget: MemoryBudget = DEFAULT_BUDGET, **job: Any
) -> tuple[dict[Any, Any], list[bytes]]:
    """Run a job twice: for a dict, and for lines."""
    policy = attrs.evolve(FOREMAN_POLICY, memory=budget)
    lines: list[bytes] = []
    async with memory_system(credits=100_000) as system:
        foreman = system.foreman(policy, spills=MemorySpill)
        result = await foreman.run(attrs.evolve(make_job(data, functions), **job))
        await foreman.run_to(attrs.evolve(make_job(data, functions), **job), lines.extend)
    return result, lines


@pytest.mark.parametrize("functions", [WORD_COUNT, WORD_COUNT | {"combiner": add_up}], ids=["plain", "combined"])
async def test_a_job_beyond_its_memory_gives_the_same_bytes(functions: Any) -> None:
    expected, lines = await run(TEXT, functions)
    assert lines == [canonical.encode([key, value]) + b"\n" for key, value in expected.items()]
    assert await run(TEXT, functions, SMALL) == (expected, lines)


@pytest.mark.parametrize("reduce_tasks", [1, 2, 5, 1000])
async def test_the_number_of_reduce_tasks_makes_no_difference_to_the_result(reduce_tasks: int) -> None:
    assert (await run(TEXT, WORD_COUNT, reduce_tasks=reduce_tasks)) == (await run(TEXT, WORD_COUNT))


def by_length(word: str) -> int:
    return -len(word)


def last_word(word: str, counts: Iterable[int]) -> Iterator[tuple[str, Any]]:
    yield word, sum(counts)
    yield "last", word


PARTITIONED = WORD_COUNT | {"reducer": last_word, "partitioner": by_length}


@pytest.mark.parametrize("combiner", [None, add_up])
@pytest.mark.parametrize("reduce_tasks", [None, 1, 3, 9])
async def test_a_partitioner_orders_keys_by_its_numbers_however_many_tasks_there_are(
    combiner: Any, reduce_tasks: int | None
) -> None:
    functions = PARTITIONED | {"combiner": combiner}
    result, lines = await run(TEXT, functions, SMALL, partitioned=True, reduce_tasks=reduce_tasks)
    counted, _ = await run(TEXT, WORD_COUNT)
    assert result == counted | {"last": "6"}, "single characters come last: their number is the largest"
    assert lines == [canonical.encode([key, value]) + b"\n" for key, value in result.items()]


@pytest.mark.parametrize("answer", [None, "1", True, 1.0, 2**63])
async def test_a_partitioner_that_does_not_return_a_number_is_reported(answer: Any) -> None:
    functions = WORD_COUNT | {"partitioner": lambda word: answer}
    with pytest.raises(UserCodeFailed, match="the partitioner raised TypeError at the row with key") as caught:
        await run(TEXT, functions, partitioned=True)
    assert "where an int of 64 bits is needed" in caught.value.report


async def test_a_partitioner_that_raises_is_reported_as_such() -> None:
    functions = WORD_COUNT | {"partitioner": lambda word: 1 // 0}
    with pytest.raises(UserCodeFailed, match="the partitioner raised ZeroDivisionError"):
        await run(TEXT, functions, partitioned=True)


async def test_a_value_without_canonical_form_is_the_mappers_also_with_a_partitioner() -> None:
    def bad(_key: object, _text: str) -> Iterator[tuple[str, object]]:
        yield "a", object()

    with pytest.raises(UserCodeFailed, match="the mapper raised ValueNotEncodable"):
        await run(TEXT, {"mapper": bad, "reducer": add_up, "partitioner": by_length}, partitioned=True)


# --- amounts of memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256MB", 256_000_000),
        ("256 MiB", 256 << 20),
        ("1.5g", 3 << 29),
        ("2T", 2 << 40),
        ("1000000", 10**6),
        (" 5kb ", 5000),
        ("7B", 7),
    ],
)
def test_amounts_of_memory_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1e9", "5 parsecs", "1XB", "٣MB", "9" * 30])
def test_an_invalid_amount_of_memory_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write it as, for example, 256MB"):
        parse_bytes(text)


def test_the_shares_leave_room() -> None:
    budget = MemoryBudget(256 << 20)
    assert budget.groups_bytes + budget.rows_bytes + 3 * budget.travel_bytes < budget.total_bytes
    assert budget.partition_bytes == 16 << 20
    assert MemoryBudget(1).partition_bytes == 1


# --- for the time being -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spills", [MemorySpill, None])
@pytest.mark.parametrize("as_lines", [False, True])
async def test_rows_set_aside_count_unless_they_are_replaced(
    spills: type[MemorySpill] | None,
    as_lines: bool,  # noqa: FBT001 - parametrized
) -> None:
    data = new_job_data(make_job(dict.fromkeys(range(6), "x")), spills, DEFAULT_BUDGET, as_lines=as_lines)
    data.cut(Phase.MAP, 3)
    for index in range(3):
        assert await data.set_aside(name(index), yielded(("word", -index))) is None
    assert await data.set_aside(name(1), yielded(("word", 11))) is None
    assert await data.keep(name(2), yielded(("word", 22))) is None
    await data.shuffle()
    names = data.cut(Phase.REDUCE, 1)
    async with data.payload(names[0]) as rows:
        assert canonical.decode(rows) == [["word", [0, 11, 22]]]
    assert await data.set_aside(names[0], yielded(("word", 1))) is None
    assert await data.set_aside(names[0], yielded(("word", 33))) is None
    if as_lines:
        lines: list[bytes] = []
        await data.write(lines.extend)
        assert b"".join(lines) == b'["word",33]\n'
    else:
        assert await data.result() == {"word": 33}
    data.close()
    data.close()


async def test_unreadable_data_are_not_set_aside_and_the_failure_is_reported() -> None:
    data = data_of()
    data.cut(Phase.MAP, 1)
    with pytest.raises(NotCanonical):
        await data.set_aside(name(0), b'["pairs",[1]]')
    failure = Failure(function="mapper", exception="ValueError", row=None, frames=())
    assert await data.set_aside(name(0), encode_outcome(failure)) == failure
    await data.shuffle()
    assert not data.sizes
    data.close()
