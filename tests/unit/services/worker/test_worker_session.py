from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import pytest

from ec262.adapters.memory.result_store import MemoryResultStore
from ec262.adapters.memory.transport import PIPE_MESSAGES, MemoryConnection, MemoryNetwork
from ec262.domain.errors import PeerLost
from ec262.domain.ports.transport import Admit, Connection
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.messages import (
    Committed,
    Compute,
    Deliver,
    Delivered,
    Failed,
    Hello,
    Message,
    Ready,
    Refused,
    Welcome,
)
from ec262.domain.work.work import Computed
from ec262.services.worker.computer import LEAVING
from ec262.services.worker.task_book import NOT_ASSIGNED, TaskBook
from ec262.services.worker.worker_batches import STRANGERS_PAUSE_S
from ec262.services.worker.worker_session import UNDER_WAY, WorkerSession
from tests.unit.services.worker.worker_doubles import RESULT, TASK, Rig, assign, compute, deliver

OTHER_TASK = "task-0002"
HELLO = Hello(versions=(3,), release="test")


class Line:
    """A foreman on the line to a worker session."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.book = TaskBook(rig.ports, rig.policy)
        self.sessions: list[WorkerSession] = []
        self.ended = asyncio.Event()
        self._listener = MemoryNetwork().listener()
        self._network = self._listener._network

    async def open(self) -> Line:
        endpoint = await self._listener.start(self._serve)
        self._address = WorkerAddress(host="worker", port=endpoint.port, fingerprint=endpoint.fingerprint)
        return self

    async def dial(self) -> Connection:
        return await self._network.dialer().connect(self._address, timeout_s=5)

    async def greeted(self) -> Connection:
        connection = await self.dial()
        await say(connection, HELLO)
        assert await hear(connection) == Welcome(version=3, release="test")
        return connection

    async def close(self) -> None:
        await self._listener.close()
        await self.book.close()

    async def _serve(self, connection: Connection) -> None:
        session = WorkerSession(connection, self.book, self.rig.policy)
        self.sessions.append(session)
        await session.serve()
        self.ended.set()


async def say(connection: Connection, *messages: Message) -> None:
    for message in messages:
        await connection.send(message, timeout_s=5)


async def hear(connection: Connection) -> Message:
    return await connection.receive(max_payload_bytes=1 << 20, timeout_s=5)


async def ask(connection: Connection, message: Message) -> Message:
    await say(connection, message)
    return await hear(connection)


Open = Callable[[Rig], Awaitable[Line]]


@pytest.fixture
async def open_line() -> AsyncIterator[Open]:
    lines: list[Line] = []

    async def open_line(rig: Rig) -> Line:
        lines.append(await Line(rig).open())
        return lines[-1]

    yield open_line
    for line in lines:
        await line.close()


def assigned(**policy: Any) -> Rig:
    rig = Rig(**policy)
    rig.discovery.assign()
    return rig


async def gone(connection: Connection) -> None:
    with pytest.raises(PeerLost):
        await hear(connection)


async def test_a_whole_conversation(open_line: Open) -> None:
    rig = assigned()
    connection = await (await open_line(rig)).greeted()
    assert await ask(connection, assign()) == Ready(task=TASK)
    assert await ask(connection, compute()) == Committed(task=TASK)
    delivered = await ask(connection, deliver())
    assert isinstance(delivered, Delivered)
    stored = await rig.results.get(TASK)
    assert stored is not None
    assert delivered.ciphertext == stored.ciphertext


async def test_a_delivery_on_a_later_connection(open_line: Open) -> None:
    line = await open_line(assigned())
    first = await line.greeted()
    await ask(first, assign())
    await ask(first, compute())
    await first.close()
    second = await line.greeted()
    assert isinstance(await ask(second, deliver()), Delivered)


async def test_several_tasks_at_once(open_line: Open) -> None:
    gate = asyncio.Event()

    async def act() -> Computed:
        await gate.wait()
        return Computed(outcome=RESULT, log=b"")

    rig = Rig(slots=2)
    rig.sandbox.act = act
    tasks = [f"task-{n:04}" for n in range(5)]
    connection = await (await open_line(rig)).greeted()
    for task in tasks:
        rig.discovery.assign(task)
        assert await ask(connection, assign(task)) == Ready(task=task)
        await say(connection, compute(task))
    await asyncio.sleep(0.02)
    assert len(rig.sandbox.runs) == 2
    gate.set()
    replies = [await hear(connection) for _ in tasks]
    assert {reply.task for reply in replies if isinstance(reply, Committed)} == set(tasks)


async def test_no_version_in_common(open_line: Open) -> None:
    connection = await (await open_line(Rig())).dial()
    refused = await ask(connection, Hello(versions=(7, 8), release="future"))
    assert isinstance(refused, Refused)
    assert refused.task == ""
    assert "release test" in refused.reason
    assert "7, 8" in refused.reason
    await gone(connection)


async def test_a_connection_without_a_greeting_is_closed(open_line: Open) -> None:
    connection = await (await open_line(assigned())).dial()
    assert await ask(connection, assign()) == Refused(task="", reason="expected Hello, got Assign")
    await gone(connection)


async def test_a_silent_connection_is_closed(open_line: Open) -> None:
    line = await open_line(Rig(greeting_s=0.05))
    connection = await line.dial()
    await gone(connection)
    assert line.ended.is_set()


async def test_strangers_are_dropped_sooner_than_foremen_with_an_assignment(open_line: Open) -> None:
    line = await open_line(assigned(stranger_s=0.05))
    stranger, foreman = await line.greeted(), await line.greeted()
    await ask(foreman, assign())
    await gone(stranger)
    await asyncio.sleep(0.1)
    assert await ask(foreman, compute()) == Committed(task=TASK)


async def test_the_wait_for_foremen_is_limited(open_line: Open) -> None:
    line = await open_line(assigned(session_s=0.05))
    foreman = await line.greeted()
    await ask(foreman, assign())
    await gone(foreman)


async def test_a_stranger_may_send_no_payload(open_line: Open) -> None:
    line = await open_line(Rig())
    connection = await line.greeted()
    await say(connection, compute())
    await gone(connection)
    assert not line.rig.sandbox.runs


async def test_a_payload_is_taken_for_an_announced_task_only_and_once(open_line: Open) -> None:
    rig = assigned()
    rig.discovery.assign("task-0002")
    line = await open_line(rig)
    connection = await line.greeted()
    await ask(connection, assign())
    assert await ask(connection, compute("task-0003")) == Refused(task="task-0003", reason=NOT_ASSIGNED)
    assert await ask(connection, compute()) == Committed(task=TASK)
    await say(connection, compute())  # a second one is a payload that nobody agreed to
    await gone(connection)
    assert len(rig.sandbox.runs) == 1


async def test_after_one_proved_assignment_others_are_checked_together(open_line: Open) -> None:
    rig = Rig()
    tasks = [f"task-{number:04}" for number in range(30)]
    for task in tasks:
        rig.discovery.assign(task)
    connection = await (await open_line(rig)).greeted()
    assert await ask(connection, assign(tasks[0])) == Ready(task=tasks[0])
    rig.discovery.gate.clear()
    await say(connection, *map(assign, tasks[1:]))
    await asyncio.sleep(0.02)
    rig.discovery.gate.set()
    replies = [await hear(connection) for _ in tasks[1:]]
    assert {reply.task for reply in replies if isinstance(reply, Ready)} == set(tasks[1:])
    assert rig.discovery.calls.count("assignment") == 3
    for task in tasks:
        await say(connection, compute(task))
    assert {type(await hear(connection)) for _ in tasks} == {Committed}


async def test_a_strangers_assignments_are_checked_one_by_one(open_line: Open) -> None:
    rig = Rig(max_refusals=2)
    line = await open_line(rig)
    connection = await line.greeted()
    await say(connection, *(assign(f"guess-{number:04}") for number in range(10)))
    async with asyncio.timeout(5):
        await line.ended.wait()
    assert rig.discovery.calls.count("assignment") == 3


async def test_work_that_comes_before_its_assignment_is_checked_is_not_taken(open_line: Open) -> None:
    rig = assigned()
    rig.discovery.assign("task-0002")
    connection = await (await open_line(rig)).greeted()
    await ask(connection, assign())
    assert await ask(connection, compute()) == Committed(task=TASK)
    rig.discovery.gate.clear()
    await say(connection, assign("task-0002"))
    refused = await ask(connection, compute("task-0002", rows=bytes(1000)))
    assert refused == Refused(task="task-0002", reason=NOT_ASSIGNED)
    rig.discovery.gate.set()
    assert await hear(connection) == Ready(task="task-0002")
    assert await ask(connection, compute("task-0002")) == Committed(task="task-0002")


async def test_a_payload_beyond_the_cap_ends_the_connection(open_line: Open) -> None:
    connection = await (await open_line(assigned(max_payload_bytes=100))).greeted()
    await ask(connection, assign())
    await say(connection, compute(rows=b"x" * 101))
    await gone(connection)


async def test_a_returning_foreman_learns_the_outcome_of_its_task(open_line: Open) -> None:
    rig = assigned()
    line = await open_line(rig)
    for _ in range(2):
        connection = await line.greeted()
        assert await ask(connection, assign()) == Ready(task=TASK)
        assert await ask(connection, compute()) == Committed(task=TASK)
        await connection.close()
    assert len(rig.sandbox.runs) == 1


async def test_a_computation_goes_on_when_its_foreman_is_gone(open_line: Open) -> None:
    gate = asyncio.Event()

    async def act() -> Computed:
        await gate.wait()
        return Computed(outcome=RESULT, log=b"")

    rig = assigned()
    rig.sandbox.act = act
    line = await open_line(rig)
    connection = await line.greeted()
    await ask(connection, assign())
    await say(connection, compute())
    await asyncio.sleep(0.02)
    await connection.close()
    async with asyncio.timeout(5):
        await line.ended.wait()
    gate.set()
    await line.book.finish()
    again = await line.greeted()
    assert isinstance(await ask(again, deliver()), Delivered)


async def test_a_failure_is_reported(open_line: Open) -> None:
    async def act() -> Computed:
        raise RuntimeError("a defect")

    rig = assigned()
    rig.sandbox.act = act
    connection = await (await open_line(rig)).greeted()
    await ask(connection, assign())
    assert isinstance(await ask(connection, compute()), Failed)


async def test_a_worker_takes_no_workers_messages(open_line: Open) -> None:
    connection = await (await open_line(Rig())).greeted()
    refused = await ask(connection, Ready(task=TASK))
    assert refused == Refused(task="", reason="unexpected Ready message from a foreman")
    await gone(connection)


async def test_guessing_ends_the_connection(open_line: Open) -> None:
    line = await open_line(Rig(max_refusals=2))
    connection = await line.greeted()
    for _ in range(2):
        assert await ask(connection, assign()) == Refused(task=TASK, reason=NOT_ASSIGNED)
    refused = await ask(connection, deliver())
    assert refused == Refused(task="", reason="too many requests without an assignment")
    await gone(connection)


async def test_discoverys_absence_is_not_held_against_who_has_proved_an_assignment(open_line: Open) -> None:
    rig = assigned(max_refusals=1, assign_s=0.05)
    rig.discovery.assign("task-0002")
    connection = await (await open_line(rig)).greeted()
    assert await ask(connection, assign()) == Ready(task=TASK)
    rig.discovery.gate.clear()
    for _ in range(6):
        refused = await ask(connection, assign("task-0002"))
        assert isinstance(refused, Refused)
        assert "did not answer" in refused.reason
    rig.discovery.gate.set()
    assert await ask(connection, assign("task-0002")) == Ready(task="task-0002")


async def test_each_assignment_makes_up_for_one_refusal_and_once(open_line: Open) -> None:
    rig = assigned(max_refusals=1)
    rig.discovery.assign("task-0002")
    connection = await (await open_line(rig)).greeted()
    for task in (TASK, "task-0002", TASK, TASK):
        assert await ask(connection, assign(task)) == Ready(task=task)
    for _ in range(3):
        assert await ask(connection, assign("task-0009")) == Refused(task="task-0009", reason=NOT_ASSIGNED)
    refused = await ask(connection, assign("task-0009"))
    assert refused == Refused(task="", reason="too many requests without an assignment")
    await gone(connection)


async def test_a_task_under_way_opens_the_gate_no_second_time(open_line: Open) -> None:
    gate = asyncio.Event()

    async def act() -> Computed:
        await gate.wait()
        return Computed(outcome=RESULT, log=b"")

    rig = assigned()
    rig.sandbox.act = act
    connection = await (await open_line(rig)).greeted()
    await ask(connection, assign())
    await say(connection, compute())
    assert await ask(connection, assign()) == Refused(task=TASK, reason=UNDER_WAY)
    gate.set()
    assert await hear(connection) == Committed(task=TASK)
    assert await ask(connection, assign()) == Ready(task=TASK)
    assert await ask(connection, compute()) == Committed(task=TASK)


async def test_work_that_the_worker_does_not_begin_is_not_under_way(open_line: Open) -> None:
    line = await open_line(assigned())
    connection = await line.greeted()
    await ask(connection, assign())
    line.book.refuse_new()
    for request in (compute(), assign()):
        assert await ask(connection, request) == Refused(task=TASK, reason=LEAVING)


async def test_no_more_work_is_received_than_there_is_room_for(open_line: Open) -> None:
    gate = asyncio.Event()

    async def act() -> Computed:
        await gate.wait()
        return Computed(outcome=RESULT, log=b"")

    rig = assigned(max_pending_bytes=1000)
    rig.discovery.assign("task-0002")
    rig.sandbox.act = act
    line = await open_line(rig)
    first, second = await line.greeted(), await line.greeted()
    await ask(first, assign())
    await say(first, compute(rows=bytes(600)))
    assert await ask(first, assign("task-0002")) == Ready(task="task-0002")
    assert await ask(second, assign()) == Ready(task=TASK)
    await say(second, compute(rows=bytes(600)))
    await gone(second)
    gate.set()
    assert await hear(first) == Committed(task=TASK)


async def test_work_queued_behind_work_without_room_is_waited_for(open_line: Open) -> None:
    gate = asyncio.Event()

    async def act() -> Computed:
        await gate.wait()
        return Computed(outcome=RESULT, log=b"")

    tasks = ["task-0002", "task-0003"]
    rig = Rig(max_pending_bytes=1000, room_s=500)
    for task in (TASK, *tasks):
        rig.discovery.assign(task, deadline_in_s=24 * 3600)
    rig.sandbox.act = act
    line = await open_line(rig)
    first, second = await line.greeted(), await line.greeted()
    await ask(first, assign())
    await say(first, compute(rows=bytes(600)))
    for task in tasks:
        assert await ask(second, assign(task)) == Ready(task=task)
    await say(second, compute(tasks[0], rows=bytes(600)))
    await asyncio.sleep(400)
    await line.book.give_up_unneeded()
    assert rig.discovery.given_up == []
    gate.set()
    assert await hear(first) == Committed(task=TASK)
    assert await hear(second) == Committed(task=tasks[0])
    await asyncio.sleep(61)
    await line.book.give_up_unneeded()
    assert rig.discovery.given_up == tasks[1:]


@pytest.mark.parametrize("silent", [False, True])
async def test_work_behind_all_that_the_worker_computes_of_a_foreman_is_waited_for(
    open_line: Open, *, silent: bool
) -> None:
    gate = asyncio.Event()

    async def act() -> Computed:
        await gate.wait()
        return Computed(outcome=RESULT, log=b"")

    rig = Rig(max_requests=2, slots=2)
    rig.sandbox.act = act
    line = await open_line(rig)
    connection = await line.greeted()
    tasks = [f"task-{number:04}" for number in range(3)]
    for task in tasks:
        rig.discovery.assign(task, deadline_in_s=24 * 3600)
        assert await ask(connection, assign(task)) == Ready(task=task)
    await say(connection, *map(compute, tasks[:1] if silent else tasks))
    await asyncio.sleep(3600)
    await line.book.give_up_unneeded()
    assert rig.discovery.given_up == (tasks[1:] if silent else [])
    gate.set()
    for _ in tasks[:1] if silent else tasks:
        assert isinstance(await hear(connection), Committed)


async def test_work_that_is_not_taken_does_not_stay(open_line: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, payloads = asyncio.Event(), []
    receive = MemoryConnection.receive

    async def act() -> Computed:
        await gate.wait()
        return Computed(outcome=RESULT, log=b"")

    async def watched(
        self: MemoryConnection, *, max_payload_bytes: int, timeout_s: float | None, admit: Admit | None = None
    ) -> Message:
        message = await receive(self, max_payload_bytes=max_payload_bytes, timeout_s=timeout_s, admit=admit)
        if isinstance(message, Compute):
            payloads.append(weakref.ref(message))
        return message

    rig = assigned()
    rig.discovery.assign("task-0002")
    rig.sandbox.act = act
    line = await open_line(rig)
    monkeypatch.setattr(MemoryConnection, "receive", watched)
    first, second = await line.greeted(), await line.greeted()
    for connection in (first, second):
        await ask(connection, assign())
        await say(connection, compute())
    assert await ask(second, assign("task-0002")) == Ready(task="task-0002")
    assert await ask(second, compute("task-0003")) == Refused(task="task-0003", reason=NOT_ASSIGNED)
    await asyncio.sleep(0.01)
    assert [payload() is not None for payload in payloads] == [True, False, False]
    gate.set()
    assert await hear(first) == await hear(second) == Committed(task=TASK)


async def test_a_few_results_are_on_their_way_at_a_time(open_line: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    line = await open_line(assigned(max_deliveries=1))
    first, second = await line.greeted(), await line.greeted()
    await ask(first, assign())
    await ask(first, compute())
    taken, send = asyncio.Event(), MemoryConnection.send
    sending: list[str] = []

    async def slow(self: MemoryConnection, message: Message, *, timeout_s: float) -> None:
        if isinstance(message, Delivered):
            sending.append(self.peer)
            await taken.wait()
        await send(self, message, timeout_s=timeout_s)

    monkeypatch.setattr(MemoryConnection, "send", slow)
    await say(first, deliver())
    await say(second, deliver())
    await asyncio.sleep(0.02)
    assert len(sending) == 1
    taken.set()
    for connection in (first, second):
        assert isinstance(await hear(connection), Delivered)


async def test_a_foreman_that_does_not_take_its_replies_is_dropped(open_line: Open) -> None:
    line = await open_line(assigned(reply_s=0.05))
    connection = await line.greeted()
    await ask(connection, assign())
    await ask(connection, compute())
    for _ in range(PIPE_MESSAGES + 2):
        await say(connection, deliver())
    async with asyncio.timeout(5):
        await line.ended.wait()


async def test_no_more_is_read_than_can_be_answered(open_line: Open) -> None:
    gate = asyncio.Event()

    async def act() -> Computed:
        await gate.wait()
        return Computed(outcome=RESULT, log=b"")

    rig = assigned(max_requests=1)
    rig.discovery.assign("task-0002")
    rig.sandbox.act = act
    line = await open_line(rig)
    connection = await line.greeted()
    await ask(connection, assign())
    await say(connection, compute(), assign("task-0002"))
    await asyncio.sleep(0.02)
    assert rig.discovery.calls.count("assignment") == 1
    gate.set()
    assert await hear(connection) == Committed(task=TASK)
    assert await hear(connection) == Ready(task="task-0002")


async def test_sessions_tell_whether_they_have_tasks(open_line: Open) -> None:
    line = await open_line(assigned())
    connection = await line.greeted()
    [session] = line.sessions
    assert not session.has_tasks
    await ask(connection, assign())
    assert session.has_tasks


async def test_nothing_secret_is_logged(open_line: Open, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "ec262")
    rig = assigned()
    connection = await (await open_line(rig)).greeted()
    requests: list[Message] = [assign(), compute(rows=b"private rows"), deliver()]
    for request in requests:
        await ask(connection, request)
    assert isinstance(requests[1], Compute)
    assert isinstance(requests[2], Deliver)
    assignment = rig.discovery.assigned[TASK]
    for secret in (assignment.key, assignment.secret, requests[2].secret, requests[1].rows):
        assert secret.hex() not in caplog.text
        assert repr(secret)[2:-1] not in caplog.text
    assert f"task {TASK}: committed" in caplog.text


async def test_a_foreman_that_does_not_take_its_result_holds_one_place_whatever_connections_it_has(
    open_line: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = assigned(max_deliveries=4)
    rig.discovery.assign(OTHER_TASK)
    line = await open_line(rig)
    connections = [await line.greeted() for _ in range(6)]
    for task in (TASK, OTHER_TASK):
        await ask(connections[0], assign(task))
        await ask(connections[0], compute(task))
    send = MemoryConnection.send

    async def stuck(self: MemoryConnection, message: Message, *, timeout_s: float) -> None:
        if isinstance(message, Delivered) and message.task == TASK:
            await asyncio.Event().wait()
        await send(self, message, timeout_s=timeout_s)

    monkeypatch.setattr(MemoryConnection, "send", stuck)
    for connection in connections[1:]:
        await say(connection, deliver())
    guess = attrs.evolve(deliver(OTHER_TASK), secret=b"a wrong secret!!")
    assert await ask(connections[0], guess) == Refused(task=OTHER_TASK, reason=NOT_ASSIGNED)
    assert isinstance(await ask(connections[0], deliver(OTHER_TASK)), Delivered)


async def test_strangers_do_not_use_up_the_workers_calls(open_line: Open) -> None:
    line = await open_line(assigned(max_refusals=10_000))
    stranger, foreman = await line.greeted(), await line.greeted()
    now = asyncio.get_running_loop().time
    began = now()

    async def guess() -> None:
        while True:
            assert await ask(stranger, assign("guess-0001")) == Refused(task="guess-0001", reason=NOT_ASSIGNED)

    guessing = asyncio.create_task(guess())
    await asyncio.sleep(0.5)
    assert await ask(foreman, assign()) == Ready(task=TASK)
    await asyncio.sleep(0.5)
    guessing.cancel()
    await asyncio.wait([guessing])
    assert line.rig.discovery.calls.count("assignment") <= 2 + (now() - began) / STRANGERS_PAUSE_S


async def test_a_result_that_was_delivered_can_be_spared(open_line: Open) -> None:
    rig = assigned(results=MemoryResultStore(capacity_bytes=60))  # for one result
    rig.discovery.assign(OTHER_TASK)
    connection = await (await open_line(rig)).greeted()
    for task in (TASK, OTHER_TASK):
        assert await ask(connection, assign(task)) == Ready(task=task)
        assert await ask(connection, compute(task)) == Committed(task=task)
        assert isinstance(await ask(connection, deliver(task)), Delivered)
