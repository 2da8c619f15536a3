from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import pytest

from ec262.adapters.memory.result_store import MemoryResultStore
from ec262.adapters.memory.transport import MemoryNetwork
from ec262.domain.errors import (
    AddressUnreachable,
    ConfigurationError,
    DiscoveryUnavailable,
    PeerLost,
    SandboxUnavailable,
)
from ec262.domain.ports.transport import Connection
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.messages import Committed, Delivered, Failed, Hello, Message, Ready, Refused, Welcome
from ec262.domain.protocol.worker_calls import Lease
from ec262.domain.work.work import Computed
from ec262.domain.worker.availability import Availability, Moment, parse_hours
from ec262.services.worker.computer import LEAVING
from ec262.services.worker.task_book import TOO_LATE
from ec262.services.worker.worker import Worker
from tests.unit.services.worker.worker_doubles import RESULT, TASK, Rig, assign, compute, deliver


class Running:
    """A worker that runs on an in-memory network."""

    def __init__(self, rig: Rig, network: MemoryNetwork) -> None:
        self.rig = rig
        self.network = network
        self.stop = asyncio.Event()
        self.joined: asyncio.Queue[Lease] = asyncio.Queue()
        self.worker = Worker(rig.ports, network.listener(), rig.policy)
        self.task = asyncio.create_task(self.worker.run(self.stop, on_joined=self.joined.put_nowait))

    async def address(self) -> WorkerAddress:
        async with asyncio.timeout(5):
            lease = await self.joined.get()
        self.joined.put_nowait(lease)
        return lease.address

    async def foreman(self) -> Foreman:
        connection = await self.network.dialer().connect(await self.address(), timeout_s=5)
        foreman = Foreman(connection)
        assert isinstance(await foreman.ask(Hello(versions=(3,), release="test")), Welcome)
        return foreman


class Foreman:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def ask(self, message: Message) -> Message:
        await self.connection.send(message, timeout_s=5)
        return await self.hear()

    async def hear(self) -> Message:
        return await self.connection.receive(max_payload_bytes=1 << 20, timeout_s=5)


Run = Callable[..., Awaitable[Running]]


@pytest.fixture
async def run() -> AsyncIterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(rig: Rig | None = None, **policy: Any) -> Running:
        started.append(Running(rig or Rig(**policy), MemoryNetwork()))
        return started[-1]

    yield run
    for running in started:
        running.task.cancel()
        await asyncio.wait([running.task])


class Gate:
    """What a sandbox does that waits until it is let go."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.entered = asyncio.Event()

    async def __call__(self) -> Computed:
        self.entered.set()
        await self.opened.wait()
        return Computed(outcome=RESULT, log=b"")


async def test_registers_what_its_owner_decided(run: Callable[..., Running]) -> None:
    running = run(host="worker.example", packages=("numpy",), slots=3, lease_s=30.0)
    address = await running.address()
    assert address.host == "worker.example"
    registration = running.rig.discovery.registration
    assert registration is not None
    assert (registration.slots, registration.packages, registration.ttl_s) == (3, ("numpy",), 30.0)
    assert registration.runtime == running.rig.policy.runtime
    assert running.rig.sandbox.started


async def test_serves_from_joining_to_leaving(run: Callable[..., Running]) -> None:
    running = run()
    running.rig.discovery.assign()
    foreman = await running.foreman()
    assert await foreman.ask(assign()) == Ready(task=TASK)
    assert await foreman.ask(compute()) == Committed(task=TASK)
    assert isinstance(await foreman.ask(deliver()), Delivered)
    await foreman.connection.close()
    running.stop.set()
    async with asyncio.timeout(5):
        await running.task
    assert running.rig.discovery.calls == ["open_account", "register", "assignment", "commit", "leave"]
    assert running.rig.sandbox.closed
    assert await running.rig.results.get(TASK) is None
    with pytest.raises(PeerLost):
        await running.network.dialer().connect(await running.address(), timeout_s=5)


async def test_a_worker_that_is_stopped_leaves_first_and_finishes_what_it_computes(run: Callable[..., Running]) -> None:
    gate = Gate()
    running = run()
    running.rig.sandbox.act = gate
    running.rig.discovery.assign()
    running.rig.discovery.assign("task-0002")
    foreman = await running.foreman()
    await foreman.ask(assign())
    await foreman.connection.send(compute(), timeout_s=5)
    await gate.entered.wait()
    running.stop.set()
    await asyncio.sleep(0.02)
    assert running.rig.discovery.calls[-1] == "leave"
    assert not running.task.done()
    assert await foreman.ask(assign("task-0002")) == Refused(task="task-0002", reason=LEAVING)
    gate.opened.set()
    assert await foreman.hear() == Committed(task=TASK)
    assert isinstance(await foreman.ask(deliver()), Delivered)
    await foreman.connection.close()
    async with asyncio.timeout(2):  # less than the farewell, for the foreman is gone
        await running.task


async def test_foremen_that_stay_are_not_waited_for_longer_than_the_farewell(run: Callable[..., Running]) -> None:
    running = run(farewell_s=0.1)
    running.rig.discovery.assign()
    foreman = await running.foreman()
    await foreman.ask(assign())
    await foreman.ask(compute())
    running.stop.set()
    await asyncio.sleep(0.03)
    assert isinstance(await foreman.ask(deliver()), Delivered)
    async with asyncio.timeout(2):
        await running.task
    with pytest.raises(PeerLost):
        await foreman.hear()


async def test_strangers_do_not_keep_a_worker_from_leaving(run: Callable[..., Running]) -> None:
    running = run()
    stranger = await running.foreman()
    running.stop.set()
    async with asyncio.timeout(2):
        await running.task
    with pytest.raises(PeerLost):
        await stranger.hear()


async def test_cancelling_stops_at_once(run: Callable[..., Running]) -> None:
    running = run()
    running.rig.sandbox.act = gate = Gate()
    running.rig.discovery.assign()
    foreman = await running.foreman()
    await foreman.ask(assign())
    await foreman.connection.send(compute(), timeout_s=5)
    await gate.entered.wait()
    running.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running.task
    assert running.rig.sandbox.closed
    assert not running.rig.discovery.commitments


async def test_a_worker_that_cannot_sandbox_does_not_start(run: Callable[..., Running]) -> None:
    rig = Rig()
    rig.sandbox.start_trouble = SandboxUnavailable("no seccomp here")
    running = run(rig)
    with pytest.raises(SandboxUnavailable, match="no seccomp"):
        await running.task
    assert rig.discovery.calls == []


async def test_a_worker_without_its_port_does_not_start(run: Callable[..., Running]) -> None:
    class Taken(MemoryNetwork):
        def open(self, port: int, accept: object) -> Any:
            raise ConfigurationError("port 1 is taken")

    rig = Rig()
    stop = asyncio.Event()
    with pytest.raises(ConfigurationError, match="taken"):
        await Worker(rig.ports, Taken().listener(1), rig.policy).run(stop)
    assert rig.sandbox.closed


async def test_a_worker_that_discovery_refuses_says_so(run: Callable[..., Running]) -> None:
    rig = Rig()
    rig.discovery.troubles["register"] = [AddressUnreachable("nobody answers at 10.0.0.1")]
    with pytest.raises(AddressUnreachable, match=r"10\.0\.0\.1"):
        await run(rig).task
    assert rig.sandbox.closed


async def test_forgotten_records_are_purged_while_serving(run: Callable[..., Running]) -> None:
    running = run(housekeeping_s=0.01)
    running.rig.discovery.assign(forgotten_in_s=100.0)
    foreman = await running.foreman()
    await foreman.ask(assign())
    await foreman.ask(compute())
    running.rig.clock.now += 101.0
    await asyncio.sleep(0.05)
    assert await running.rig.results.get(TASK) is None


async def test_a_purge_that_fails_is_logged_and_the_next_one_is_tried(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    class Unlucky(MemoryResultStore):
        def __init__(self) -> None:
            super().__init__(capacity_bytes=1 << 20)
            self.purges = 0
            self.tried_again = asyncio.Event()

        async def purge(self, now: float) -> None:
            self.purges += 1
            if self.purges == 1:
                raise OSError("the disk is gone")
            self.tried_again.set()

    results = Unlucky()
    running = run(Rig(results=results, housekeeping_s=0.01))
    await running.address()
    async with asyncio.timeout(5):
        await results.tried_again.wait()
    assert "the disk is gone" in caplog.text


async def test_a_task_whose_foreman_hangs_up_before_it_sends_the_work_takes_no_slot(
    run: Callable[..., Running],
) -> None:
    running = run(look_s=0.01)
    running.rig.discovery.assign()
    foreman = await running.foreman()
    assert await foreman.ask(assign()) == Ready(task=TASK)
    await foreman.connection.close()
    await running.rig.discovery.called("give_up", 1)
    assert running.rig.discovery.given_up == [TASK]


async def test_a_foreman_that_stays_and_sends_no_work_keeps_no_slot(run: Callable[..., Running]) -> None:
    tasks = [f"task-{number:04}" for number in range(20)]
    running = run(slots=4, ahead=4)
    foreman = await running.foreman()
    for task in tasks:
        running.rig.discovery.assign(task, deadline_in_s=24 * 3600)
        assert await foreman.ask(assign(task)) == Ready(task=task)
    await asyncio.sleep(58)
    assert running.rig.discovery.given_up == []
    await asyncio.sleep(5)
    assert sorted(running.rig.discovery.given_up) == tasks
    assert await foreman.ask(assign(tasks[0])) == Ready(task=tasks[0])
    assert await foreman.ask(compute(tasks[0])) == Failed(task=tasks[0], reason=TOO_LATE)


async def test_a_foreman_that_announces_a_task_again_and_again_keeps_no_slot(run: Callable[..., Running]) -> None:
    running = run()
    running.rig.discovery.assign(deadline_in_s=24 * 3600)

    async def announce_again(times: int, before: Foreman) -> Foreman:
        for _ in range(times):
            foreman = await running.foreman()
            assert await foreman.ask(assign()) == Ready(task=TASK)
            await before.connection.close()
            before = foreman
            await asyncio.sleep(1)
        return before

    foreman = await announce_again(58, await running.foreman())
    assert running.rig.discovery.given_up == []
    await announce_again(7, foreman)
    assert running.rig.discovery.given_up == [TASK]


@pytest.mark.parametrize("obstacle", ["wrong secret", "no room"])
async def test_a_task_that_was_looked_up_and_refused_keeps_no_slot(run: Callable[..., Running], obstacle: str) -> None:
    running = run(max_open_tasks=int(obstacle != "no room"))
    running.rig.discovery.assign(deadline_in_s=24 * 3600)
    foreman = await running.foreman()
    asked = assign() if obstacle == "no room" else assign(secret=b"another secret!!")
    assert isinstance(await foreman.ask(asked), Refused)
    await asyncio.sleep(65)
    assert running.rig.discovery.given_up == [TASK]


async def test_a_task_that_waits_is_given_up_when_it_is_won(run: Callable[..., Running]) -> None:
    running = run(look_s=0.01)
    running.rig.discovery.assign()
    foreman = await running.foreman()
    assert await foreman.ask(assign()) == Ready(task=TASK)
    running.rig.discovery.assigned[TASK] = attrs.evolve(running.rig.discovery.assigned[TASK], won=True)
    await running.rig.discovery.called("give_up", 1)
    assert running.rig.discovery.given_up == [TASK]


async def test_joining_needs_no_callback() -> None:
    rig = Rig()
    stop = asyncio.Event()
    task = asyncio.create_task(Worker(rig.ports, MemoryNetwork().listener(), rig.policy).run(stop))
    await asyncio.sleep(0.02)
    stop.set()
    await task
    assert "register" in rig.discovery.calls


async def test_a_worker_whose_owner_is_back_finishes_what_was_assigned_to_it(run: Callable[..., Running]) -> None:
    gate = Gate()
    rig = Rig(availability=Availability(hours=(parse_hours("22-6"),)), watch_s=0.01, slots=2)
    rig.surroundings.moment = Moment(minute=23 * 60, others_load=None, input_idle_s=0.0)
    rig.sandbox.act = gate
    for task in (TASK, "task-0002"):
        rig.discovery.assign(task)
    running = run(rig)
    foreman = await running.foreman()
    await foreman.ask(assign())
    await foreman.connection.send(compute(), timeout_s=5)
    await gate.entered.wait()
    rig.surroundings.moment = Moment(minute=12 * 60, others_load=None, input_idle_s=0.0)
    await rig.discovery.called("leave", 1)
    assert not running.task.done()
    assert await foreman.ask(assign("task-0002")) == Ready(task="task-0002")  # drawn for it before it left
    gate.opened.set()
    assert await foreman.hear() == Committed(task=TASK)
    assert await foreman.ask(compute("task-0002")) == Committed(task="task-0002")
    assert isinstance(await foreman.ask(deliver("task-0002")), Delivered)
    await foreman.connection.close()
    running.stop.set()
    async with asyncio.timeout(5):
        await running.task
    assert rig.discovery.calls.count("leave") == 1


async def test_a_worker_ends_soon_though_discovery_is_away_and_says_what_it_waits_for(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ec262")
    running = run(last_words_s=0.1, farewell_s=0.01, max_retry_s=0.01)
    running.rig.discovery.assign(deadline_in_s=900.0)
    running.rig.discovery.troubles["commit"] = [DiscoveryUnavailable("away")] * 100_000
    foreman = await running.foreman()
    await foreman.ask(assign())
    await foreman.connection.send(compute(), timeout_s=5)
    await running.rig.discovery.called("commit", 2)
    running.rig.discovery.troubles["leave"] = [DiscoveryUnavailable("away")]
    running.stop.set()
    async with asyncio.timeout(5):
        await running.task
    assert "finishing 1 task(s), which takes at most 900 s; results that" in caplog.text
