from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from ec262.domain.protocol.foreman_calls import Verdict, VerdictQuery, Verdicts
from ec262.domain.verification.task_state import TaskState
from ec262.entrypoints.http import long_poll
from ec262.entrypoints.http.long_poll import MAX_LOOKED_AFTER, Bell

CALLER = "caller"
QUERY = VerdictQuery(tasks=("task-0001", "task-0002", "task-0001"), wait_s=30)


class Service:
    """Tasks that win when a test says so."""

    def __init__(self) -> None:
        self.won: set[str] = set()
        self.looks = 0
        self.before_looking: Callable[[], None] = lambda: None

    async def look(self) -> Verdicts:
        self.before_looking()
        self.looks += 1
        won = set(self.won)
        await asyncio.sleep(0)
        return Verdicts(
            verdicts=tuple(
                Verdict(
                    task=task,
                    state=TaskState.WON if task in won else TaskState.OPEN,
                    committed=0,
                    outstanding=1,
                )
                for task in sorted(set(QUERY.tasks))
            )
        )


@pytest.fixture(autouse=True)
def no_looks_but_for_the_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "LOOK_S", 20.0)


async def waiting(
    bell: Bell, service: Service, query: VerdictQuery = QUERY, *, caller: str = CALLER
) -> asyncio.Task[Verdicts]:
    waiter = asyncio.create_task(bell.held_back(query, service.look, caller=caller))
    for _ in range(10):
        await asyncio.sleep(0)
    assert service.looks == 1
    assert not waiter.done()
    return waiter


async def test_news_are_reported_at_once() -> None:
    service = Service()
    service.won.add("task-0002")
    reply = await Bell().held_back(QUERY, service.look, caller=CALLER)
    assert [verdict.state for verdict in reply.verdicts] == [TaskState.OPEN, TaskState.WON]
    assert service.looks == 1


@pytest.mark.parametrize("from_thread", [False, True])
async def test_the_bell_ends_the_waiting(from_thread: bool) -> None:  # noqa: FBT001 - drawn
    bell, service = Bell(), Service()
    waiter = await waiting(bell, service)
    service.won.add("task-0001")
    if from_thread:
        thread = threading.Thread(target=bell.ring, args=[["task-0001"]])
        thread.start()
        thread.join()
    else:
        bell.ring(["task-0001"])
    reply = await asyncio.wait_for(waiter, 1)
    assert (reply.verdicts[0].state, service.looks) == (TaskState.WON, 2)


async def test_all_who_wait_for_a_task_are_woken_and_nobody_else() -> None:
    bell, services = Bell(), [Service(), Service(), Service()]
    waiters = [await waiting(bell, service) for service in services[:2]]
    other = await waiting(bell, services[2], VerdictQuery(tasks=("task-0003", "task-0004"), wait_s=30))
    for service in services:
        service.won.add("task-0001")
    bell.ring(["task-0001", "task-9999"])
    await asyncio.wait_for(asyncio.gather(*waiters), 1)
    assert services[2].looks == 1
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other


async def test_a_ring_while_somebody_looks_is_not_missed() -> None:
    bell, service = Bell(), Service()

    def decided_behind_the_look() -> None:
        service.before_looking = lambda: None
        asyncio.get_running_loop().call_soon(win)

    def win() -> None:
        service.won.add("task-0001")
        bell.ring(["task-0001"])

    service.before_looking = decided_behind_the_look
    reply = await asyncio.wait_for(bell.held_back(QUERY, service.look, caller=CALLER), 1)
    assert (reply.verdicts[0].state, service.looks) == (TaskState.WON, 2)


async def test_decisions_of_another_process_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "LOOK_S", 0.01)
    bell, service = Bell(), Service()
    waiter = await waiting(bell, service)
    service.won.add("task-0001")
    assert (await asyncio.wait_for(waiter, 1)).verdicts[0].state is TaskState.WON


async def test_the_waiting_ends_when_its_time_is_over() -> None:
    service = Service()
    reply = await asyncio.wait_for(
        Bell().held_back(VerdictQuery(tasks=QUERY.tasks, wait_s=0.02), service.look, caller=CALLER), 1
    )
    assert [verdict.state for verdict in reply.verdicts] == [TaskState.OPEN, TaskState.OPEN]
    assert service.looks == 2


async def test_when_the_service_ends_nobody_waits_any_longer() -> None:
    bell, service = Bell(), Service()
    waiter = await waiting(bell, service)
    bell.close()
    await asyncio.wait_for(waiter, 1)
    await asyncio.wait_for(bell.held_back(QUERY, service.look, caller=CALLER), 1)
    assert service.looks == 3


async def test_a_worker_that_left_is_forgotten() -> None:
    bell, service = Bell(), Service()
    waiter = await waiting(bell, service)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    service.won.add("task-0001")
    await bell.held_back(QUERY, service.look, caller=CALLER)
    assert not bell._listeners
    assert not bell._held


async def test_the_number_of_answers_kept_for_a_caller_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "LOOK_S", 0.01)
    bell, services = Bell(), [Service() for _ in range(MAX_LOOKED_AFTER + 1)]
    waiters = [asyncio.create_task(bell.held_back(QUERY, service.look, caller=CALLER)) for service in services]
    await asyncio.sleep(0.1)
    assert [service.looks > 1 for service in services] == [True] * MAX_LOOKED_AFTER + [False]
    other = Service()
    waiters.append(asyncio.create_task(bell.held_back(QUERY, other.look, caller="somebody else")))
    await asyncio.sleep(0.1)
    assert other.looks > 1
    for service in (*services, other):
        service.won.add("task-0001")
    bell.ring(["task-0001"])
    replies = await asyncio.wait_for(asyncio.gather(*waiters), 1)
    assert {reply.verdicts[0].state for reply in replies} == {TaskState.WON}
    assert not bell._held


def test_a_ring_that_nobody_hears_does_no_harm() -> None:
    bell, service = Bell(), Service()
    bell.ring(["task-0001"])
    service.won.add("task-0001")
    asyncio.run(bell.held_back(QUERY, service.look, caller=CALLER))
    bell.ring(["task-0001"])
