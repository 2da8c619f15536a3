from __future__ import annotations

import asyncio
import weakref
import zlib
from typing import Any

import attrs
import pytest

from ec262.adapters.memory.result_store import MemoryResultStore
from ec262.domain.errors import AccountFrozen, DiscoveryUnavailable, TaskClosed
from ec262.domain.protocol.messages import Committed, Compute, Delivered, Failed, Ready, Refused
from ec262.domain.work.work import Computed, Limits, Phase
from ec262.services.worker.announcements import Line
from ec262.services.worker.computer import DEFECT, LEAVING, THREAD_BYTES, WON_WITHOUT
from ec262.services.worker.task_book import HUNG_UP, NO_MEMORY, NOT_ASSIGNED, OTHER_WORK, TaskBook
from tests.unit.services.worker.worker_doubles import RESULT, TASK, Rig, assign, compute, deliver

OTHER = "task-0002"
READY = Ready(task=TASK)
COMMITTED = Committed(task=TASK)
UNKNOWN = Refused(task=TASK, reason=NOT_ASSIGNED)


class Gate:
    """What a sandbox does that waits until it is let go."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.entered = asyncio.Event()

    async def __call__(self) -> Computed:
        self.entered.set()
        await self.opened.wait()
        return Computed(outcome=RESULT, log=b"")


def book_of(rig: Rig) -> TaskBook:
    return TaskBook(rig.ports, rig.policy)


async def computed(book: TaskBook, message: Compute | None = None) -> Committed | Failed | Refused:
    """Have a task computed, and wait for its end."""
    begun = book.begin(message or compute())
    return begun if isinstance(begun, Refused) else await begun


async def computing(rig: Rig) -> tuple[TaskBook, Gate, asyncio.Task[object]]:
    """A book with one task in the sandbox, which waits at the gate."""
    gate = Gate()
    rig.sandbox.act = gate
    rig.discovery.assign()
    book = book_of(rig)
    assert await book.assign(assign()) == READY
    asking: asyncio.Task[object] = asyncio.create_task(computed(book))
    await gate.entered.wait()
    return book, gate, asking


async def test_a_task_from_assignment_to_delivery() -> None:
    rig = Rig()
    rig.discovery.assign()
    book = book_of(rig)
    assert await book.assign(assign()) == READY
    assert await computed(book) == COMMITTED
    assert book.computing == 0
    stored = await rig.results.get(TASK)
    assert stored is not None
    assert await book.deliver(deliver()) == Delivered(task=TASK, ciphertext=stored.ciphertext, log=stored.log)


async def test_a_stranger_learns_nothing() -> None:
    rig = Rig()
    book = book_of(rig)
    unknown = await book.assign(assign())
    rig.discovery.assign()
    wrong_secret = await book.assign(assign(secret=b"another secret!!"))
    assert unknown == wrong_secret == UNKNOWN


@pytest.mark.parametrize("task", ["", "short"])
async def test_discovery_is_not_asked_about_invalid_task_ids(task: str) -> None:
    rig = Rig()
    assert await book_of(rig).assign(assign(task)) == Refused(task=task, reason=NOT_ASSIGNED)
    assert rig.discovery.calls == []


async def test_an_assignment_is_asked_for_once_discovery_is_back() -> None:
    rig = Rig()
    rig.discovery.assign()
    rig.discovery.troubles["assignment"] = [DiscoveryUnavailable("away")] * 2
    assert await book_of(rig).assign(assign()) == READY


async def test_an_assignment_is_refused_while_discovery_stays_away() -> None:
    rig = Rig(assign_s=0.05)
    rig.discovery.assign()
    rig.discovery.troubles["assignment"] = [DiscoveryUnavailable("away")] * 10_000
    refused = await book_of(rig).assign(assign())
    assert isinstance(refused, Refused)
    assert "did not answer" in refused.reason


async def test_a_task_that_discovery_has_closed_is_refused() -> None:
    rig = Rig()
    rig.discovery.assign()
    rig.discovery.troubles["assignment"] = [TaskClosed("the deadline passed")]
    assert await book_of(rig).assign(assign()) == UNKNOWN


async def test_a_task_past_its_deadline_is_refused() -> None:
    rig = Rig()
    rig.discovery.assign(deadline_in_s=0.0)
    assert await book_of(rig).assign(assign()) == Refused(task=TASK, reason="the task's deadline has passed")


async def test_open_tasks_are_capped_until_their_deadlines() -> None:
    rig = Rig(max_open_tasks=1)
    rig.discovery.assign()
    rig.discovery.assign(OTHER, deadline_in_s=600.0)
    book = book_of(rig)
    assert await book.assign(assign()) == READY
    assert await book.assign(assign()) == READY
    await book.purge()
    assert await book.assign(assign(OTHER)) == Refused(task=OTHER, reason="this worker has no room for another task")
    rig.clock.now += 61.0
    await book.purge()
    assert await book.assign(assign(OTHER)) == Ready(task=OTHER)


async def test_work_without_an_assignment_is_refused() -> None:
    assert await computed(book_of(Rig())) == UNKNOWN


async def test_pending_work_is_capped() -> None:
    rig = Rig(max_pending_bytes=10)
    rig.discovery.assign()
    book = book_of(rig)
    await book.assign(assign())
    refused = await computed(book, compute(rows=b"x" * 11))
    assert refused == Refused(task=TASK, reason="this worker has no memory left for more work")
    assert await computed(book, compute(rows=b"x")) == COMMITTED


async def test_no_work_is_announced_where_there_is_no_room_for_any() -> None:
    rig = Rig(max_pending_bytes=len(b"pickle[]"))
    book, gate, asking = await computing(rig)
    rig.discovery.assign(OTHER)
    assert book.room_bytes == 0
    assert await book.assign(assign(OTHER)) == Refused(task=OTHER, reason=NO_MEMORY)
    assert await book.assign(assign()) == READY
    gate.opened.set()
    assert await asking == COMMITTED
    assert await book.assign(assign(OTHER)) == Ready(task=OTHER)


async def test_many_tasks_are_looked_up_together() -> None:
    rig = Rig()
    book = book_of(rig)
    tasks = [f"task-{number:04}" for number in range(100)]
    for task in tasks:
        rig.discovery.assign(task)
    replies = await asyncio.gather(*(book.assign(assign(task)) for task in tasks))
    assert replies == [Ready(task=task) for task in tasks]
    assert rig.discovery.calls.count("assignment") == 1


async def test_work_that_is_sent_twice_is_not_kept() -> None:
    rig = Rig()
    book, gate, first = await computing(rig)
    room_bytes = book.room_bytes
    again = compute(rows=bytes(1000))
    gone = weakref.ref(again)
    ends = [book.begin(again)]
    gate.opened.set()
    assert await first == COMMITTED
    ends.append(book.begin(again))  # and now that it is done
    assert book.room_bytes == room_bytes + len(b"pickle[]")
    del again
    assert gone() is None
    for end in ends:
        assert isinstance(end, asyncio.Future)
        assert await end == COMMITTED


async def test_a_task_is_computed_once() -> None:
    rig = Rig()
    book, gate, first = await computing(rig)
    assert await book.assign(assign()) == READY
    second = asyncio.create_task(computed(book))
    await asyncio.sleep(0)
    gate.opened.set()
    assert await first == await second == await computed(book) == COMMITTED
    assert await book.assign(assign()) == READY
    assert len(rig.sandbox.runs) == 1


async def test_a_computation_outlives_the_foremans_interest() -> None:
    rig = Rig()
    book, gate, asking = await computing(rig)
    asking.cancel()
    await asyncio.wait([asking])
    assert book.computing == 1
    gate.opened.set()
    await book.finish()
    assert TASK in rig.discovery.commitments
    assert isinstance(await book.deliver(deliver()), Delivered)


@pytest.mark.parametrize("secret", [b"another secret!!", b"assignment secret"])
async def test_a_result_is_given_up_for_its_delivery_secret_only(secret: bytes) -> None:
    rig = Rig()
    rig.discovery.assign()
    book = book_of(rig)
    assert await book.deliver(deliver()) == UNKNOWN
    await book.assign(assign())
    await computed(book)
    assert await book.deliver(deliver(secret=secret)) == UNKNOWN


async def test_a_result_that_is_not_there_is_refused() -> None:
    rig = Rig()
    rig.discovery.assign()
    book = book_of(rig)
    await book.assign(assign())
    assert await book.deliver(deliver()) == Refused(task=TASK, reason="this worker has no result for the task")


async def test_a_leaving_worker_begins_nothing_and_finishes_what_it_has() -> None:
    rig = Rig()
    book, gate, asking = await computing(rig)
    rig.discovery.assign(OTHER)
    assert await book.assign(assign(OTHER)) == Ready(task=OTHER)
    book.refuse_new()
    assert await book.assign(assign(OTHER)) == Refused(task=OTHER, reason=LEAVING)
    assert await computed(book, compute(OTHER)) == Refused(task=OTHER, reason=LEAVING)
    assert await book.assign(assign()) == READY
    finishing = asyncio.create_task(book.finish())
    await asyncio.sleep(0.01)
    assert not finishing.done()
    gate.opened.set()
    await finishing
    assert await asking == COMMITTED
    assert await computed(book) == COMMITTED


async def test_a_task_that_discovery_has_forgotten_is_forgotten() -> None:
    rig = Rig()
    rig.discovery.assign(forgotten_in_s=100.0)
    book = book_of(rig)
    await book.assign(assign())
    await computed(book)
    rig.clock.now += 99.0
    await book.purge()
    assert isinstance(await book.deliver(deliver()), Delivered)
    rig.clock.now += 1.0
    await book.purge()
    assert await book.deliver(deliver()) == UNKNOWN
    assert await rig.results.get(TASK) is None


async def test_closing_stops_what_is_computed() -> None:
    rig = Rig()
    book, _gate, asking = await computing(rig)
    await book.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert book.computing == 0
    assert not rig.discovery.commitments


async def test_packed_rows_are_unpacked_for_the_sandbox() -> None:
    rig = Rig()
    rig.discovery.assign()
    book = book_of(rig)
    await book.assign(assign())
    packed = compute(rows=b"[1,2]", packed=True)
    assert await computed(book, packed) == COMMITTED
    assert rig.sandbox.runs[0][0].rows == b"[1,2]"
    assert book.room_bytes == rig.policy.max_pending_bytes


async def test_rows_that_cannot_be_unpacked_are_a_failure_that_frees_the_slot() -> None:
    rig = Rig()
    rig.discovery.assign()
    book = book_of(rig)
    await book.assign(assign())
    bomb = attrs.evolve(compute(rows=zlib.compress(bytes(1 << 20))), unpacked_bytes=5)
    failed = await computed(book, bomb)
    assert isinstance(failed, Failed)
    assert failed.reason == "the packed rows do not have the announced size of 5 bytes"
    assert (rig.discovery.given_up, rig.sandbox.runs) == ([TASK], [])


@pytest.mark.parametrize("size", [(1 << 20) + 1, 1 << 40])
async def test_data_too_large_when_unpacked_are_refused(size: int) -> None:
    rig = Rig(max_payload_bytes=1 << 20)
    rig.discovery.assign()
    book = book_of(rig)
    await book.assign(assign())
    large = attrs.evolve(compute(rows=zlib.compress(b"[]")), unpacked_bytes=size)
    assert await computed(book, large) == Refused(task=TASK, reason=NO_MEMORY)


async def test_a_defect_outside_the_sandbox_is_a_failure_that_frees_the_slot(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unpack(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr("ec262.services.worker.task_book.unpack", unpack)
    rig = Rig()
    rig.discovery.assign()
    book = book_of(rig)
    await book.assign(assign())
    packed = compute(rows=b"[1,2]", packed=True)
    assert await computed(book, packed) == Failed(task=TASK, reason=DEFECT)
    assert await computed(book, packed) == Failed(task=TASK, reason=DEFECT)
    assert rig.discovery.given_up == [TASK]
    assert "internal error in this worker" in caplog.text


CHANGES: dict[str, Any] = {
    "phase": Phase.REDUCE,
    "functions": b"pickles",
    "rows": b"[1]",
    "seed": 8,
    "round_floats": 3,
    "limits": Limits(cpu_s=1.0),
    "work_hash": bytes(32),
}


@pytest.mark.parametrize("changed", CHANGES)
async def test_work_that_is_not_what_its_hash_stands_for_is_given_up(changed: str) -> None:
    rig = Rig()
    rig.discovery.assign()
    book = book_of(rig)
    await book.assign(assign())
    other = attrs.evolve(compute(), **{changed: CHANGES[changed]})
    assert await computed(book, other) == Failed(task=TASK, reason=OTHER_WORK)
    assert (rig.discovery.given_up, rig.discovery.commitments, rig.sandbox.runs) == ([TASK], {}, [])


async def test_a_large_work_is_checked_as_well() -> None:
    rig = Rig()
    rig.discovery.assign()
    book = book_of(rig)
    await book.assign(assign())
    rows = b"[%b]" % (b"1," * THREAD_BYTES + b"1")
    assert await computed(book, attrs.evolve(compute(rows=rows), rows=rows[:-1])) == Failed(
        task=TASK, reason=OTHER_WORK
    )


# --- what is not needed ---------------------------------------------------------------------------------------------


def win(rig: Rig, task: str) -> None:
    """Let discovery say that a task was won without this worker."""
    rig.discovery.assigned[task] = attrs.evolve(rig.discovery.assigned[task], won=True)


async def test_work_that_waits_is_dropped_when_its_task_is_won_and_work_that_runs_is_not() -> None:
    rig = Rig(slots=1)
    book, gate, asking = await computing(rig)
    rig.discovery.assign(OTHER)
    await book.assign(assign(OTHER))
    waiting = asyncio.create_task(computed(book, compute(OTHER)))
    await asyncio.sleep(0.01)  # until it waits for the slot
    await book.give_up_unneeded()
    assert not waiting.done()
    room = book.room_bytes
    win(rig, TASK)
    win(rig, OTHER)
    await book.give_up_unneeded()
    assert await waiting == Failed(task=OTHER, reason=WON_WITHOUT)
    assert rig.discovery.given_up == [OTHER]
    assert book.room_bytes > room
    gate.opened.set()
    assert await asking == COMMITTED


async def test_work_that_was_announced_and_is_won_is_not_waited_for() -> None:
    rig = Rig()
    rig.discovery.assign()
    book = book_of(rig)
    await book.assign(assign())
    win(rig, TASK)
    await book.give_up_unneeded()
    await book.give_up_unneeded()
    assert rig.discovery.given_up == [TASK]
    assert await book.assign(assign()) == READY
    assert await computed(book) == Failed(task=TASK, reason=WON_WITHOUT)
    assert not rig.sandbox.runs


async def test_a_task_that_discovery_has_ended_is_dropped() -> None:
    rig = Rig()
    rig.discovery.assign()
    book = book_of(rig)
    await book.assign(assign())
    del rig.discovery.assigned[TASK]
    await book.give_up_unneeded()
    assert await computed(book) == Failed(task=TASK, reason=f"unknown task {TASK}")


async def test_nothing_is_dropped_while_discovery_does_not_say_so() -> None:
    rig = Rig()
    rig.discovery.assign()
    book = book_of(rig)
    await book.assign(assign())
    rig.discovery.troubles["assignment"] = [DiscoveryUnavailable("away"), AccountFrozen("frozen")]
    for _ in range(2):
        await book.give_up_unneeded()
    assert not rig.discovery.troubles["assignment"]
    assert await computed(book) == COMMITTED


async def test_discovery_is_asked_only_after_what_waits() -> None:
    rig = Rig()
    book, gate, asking = await computing(rig)
    before = list(rig.discovery.calls)
    await book.give_up_unneeded()
    assert rig.discovery.calls == before
    gate.opened.set()
    await asking


async def test_a_task_whose_foreman_hung_up_is_given_up_unless_it_is_announced_again() -> None:
    rig = Rig()
    for task in (TASK, OTHER):
        rig.discovery.assign(task)
    book = book_of(rig)
    line, announced_again = Line(), "task-0003"
    rig.discovery.assign(announced_again)
    for task in (TASK, OTHER, announced_again):
        await book.assign(assign(task), line)
    await book.assign(assign(announced_again), Line())
    book.abandon([TASK, OTHER, announced_again, "unknown"], line)
    await book.assign(assign(OTHER), Line())
    await book.give_up_unneeded()
    assert rig.discovery.given_up == [TASK]
    assert await computed(book) == Failed(task=TASK, reason=HUNG_UP)
    assert await computed(book, compute(OTHER)) == Committed(task=OTHER)


async def test_a_task_that_is_computed_is_not_abandoned() -> None:
    rig, line = Rig(), Line()
    book, gate, asking = await computing(rig)
    assert await book.assign(assign(), line) == READY
    book.abandon([TASK], line)
    await book.give_up_unneeded()
    gate.opened.set()
    assert await asking == COMMITTED


async def test_a_result_that_nobody_fetched_can_be_spared_some_time_after_its_deadline() -> None:
    rig = Rig(results=MemoryResultStore(capacity_bytes=60), fetch_s=100.0)  # room for one result
    rig.discovery.assign(deadline_in_s=10.0)
    rig.discovery.assign(OTHER, deadline_in_s=1000.0)
    book = book_of(rig)
    await book.assign(assign())
    assert await computed(book) == COMMITTED
    await book.assign(assign(OTHER))
    rig.clock.now += 109
    await book.purge()
    assert isinstance(await book.deliver(deliver()), Delivered)
    rig.clock.now += 2
    await book.purge()
    assert await computed(book, compute(OTHER)) == Committed(task=OTHER)
    assert isinstance(await book.deliver(deliver()), Refused)
