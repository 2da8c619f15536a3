"""What every client of the discovery service has to do: the same calls and refusals, in memory and over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from ec262.adapters.http_discovery import HttpDiscovery
from ec262.adapters.memory.discovery import MemoryDiscovery
from ec262.domain.commands import CommitResult, PoolQuery, TaskState, VerdictQuery
from ec262.domain.errors import (
    AddressUnreachable,
    CommitmentConflict,
    DiscoveryRefused,
    LimitReached,
    NotAuthenticated,
    PurchaseConflict,
    PurchaseTooExpensive,
    TaskClosed,
    UnknownTask,
)
from ec262.domain.ports.discovery import ForemanDiscovery, WorkerDiscovery
from ec262.entrypoints.discovery_api import discovery_app
from tests.discovery_town import FOREMAN, REQUIREMENT, Town, build_town, digest, order, registration, worker_token
from tests.live_discovery import served

Client = MemoryDiscovery | HttpDiscovery
Connect = Callable[[str], Client]


@pytest.fixture
def town() -> Town:
    return build_town(workers=3, max_open_tasks=3)


@pytest.fixture(params=["memory", "http"])
def url(request: pytest.FixtureRequest, town: Town) -> Iterator[str | None]:
    if request.param == "memory":
        yield None
    else:
        with served(discovery_app(town.service)) as address:
            yield address


@pytest.fixture
async def connect(url: str | None, town: Town) -> AsyncIterator[Connect]:
    clients: list[Client] = []

    def make(token: str) -> Client:
        clients.append(
            MemoryDiscovery(town.service, token=token) if url is None else HttpDiscovery(url, token=token, patience_s=5)
        )
        return clients[-1]

    yield make
    for client in clients:
        await client.close()
        await client.close()


async def test_accounts(connect: Connect) -> None:
    status = await connect(FOREMAN).open_account()
    assert (status.credits, status.escrow) == (12, 0)
    assert (await connect("newcomer-" + "n" * 30).open_account()).credits == 0


async def test_a_whole_task(connect: Connect, town: Town) -> None:
    foreman: ForemanDiscovery = connect(FOREMAN)
    pool = await foreman.pool(PoolQuery(requirement=REQUIREMENT))
    assert (pool.workers, pool.slots, pool.explanation) == (3, 3, "")
    purchase = await foreman.buy(order())
    assert await foreman.buy(order()) == purchase
    (task,) = purchase.tasks
    for replica in task.replicas:
        worker: WorkerDiscovery = connect(town.tokens[replica.worker])
        part = await worker.assignment(task.task)
        assert part.secret == replica.secret
        await worker.commit(CommitResult(task=task.task, digest=digest("a")))
        await worker.commit(CommitResult(task=task.task, digest=digest("a")))
        assert (await worker.open_account()).credits in {0, 1}
    (verdict,) = (await foreman.verdicts(VerdictQuery(tasks=(task.task,)))).verdicts
    assert (verdict.state, verdict.key, verdict.digest) == (TaskState.WON, part.key, digest("a"))
    assert {winner.worker for winner in verdict.winners} == {replica.worker for replica in task.replicas}
    assert (await foreman.open_account()).credits == 9


async def test_joining_and_leaving(connect: Connect) -> None:
    worker = connect(worker_token(0))
    lease = await worker.register(registration(4100, ttl_s=30, packages=("numpy",)))
    assert (lease.address.host, lease.address.port, lease.expires_in_s) == ("127.0.0.1", 4100, 30)
    await worker.leave()
    await worker.leave()
    assert (await connect(FOREMAN).pool(PoolQuery(requirement=REQUIREMENT))).workers == 2


async def test_a_shortfall_is_told(connect: Connect) -> None:
    purchase = await connect(FOREMAN).buy(order(rule="majority:5"))
    assert (purchase.tasks, purchase.price) == ((), 0)
    assert "5 workers needed" in purchase.shortfall


async def test_refusals_of_purchases(connect: Connect, town: Town) -> None:
    foreman = connect(FOREMAN)
    for number in range(3):
        town.add_worker(number, registration(4000 + number, slots=50))
    with pytest.raises(PurchaseTooExpensive) as caught:
        await foreman.buy(order(tasks=5))
    assert (caught.value.have, caught.value.need) == (12, 15)
    with pytest.raises(LimitReached, match="an account may have 3"):
        await foreman.buy(order(tasks=4))
    await foreman.buy(order())
    with pytest.raises(PurchaseConflict):
        await foreman.buy(order(tasks=2))


async def test_refusals_of_workers(connect: Connect, town: Town) -> None:
    task = town.buy_one()
    worker = connect(town.tokens[task.replicas[0].worker])
    with pytest.raises(UnknownTask):
        await worker.assignment("0" * 32)
    with pytest.raises(UnknownTask):
        await connect(FOREMAN).assignment(task.task)
    with pytest.raises(UnknownTask):
        await worker.give_up("0" * 32)
    quitter = connect(town.tokens[task.replicas[1].worker])
    await quitter.give_up(task.task)
    with pytest.raises(TaskClosed):
        await quitter.commit(CommitResult(task=task.task, digest=digest("a")))
    await worker.commit(CommitResult(task=task.task, digest=digest("a")))
    with pytest.raises(CommitmentConflict):
        await worker.commit(CommitResult(task=task.task, digest=digest("b")))
    town.prober.silent.add(("127.0.0.1", 4666))
    with pytest.raises(AddressUnreachable, match="4666"):
        await worker.register(registration(4666))
    town.clock.advance(600)
    with pytest.raises(TaskClosed):
        await worker.assignment(task.task)


async def test_a_task_name_is_never_taken_for_a_path(connect: Connect) -> None:
    for name in ("../pool", "a/b", "%2e%2e", "?x", "#", "ä"):
        with pytest.raises(DiscoveryRefused):
            await connect(FOREMAN).assignment(name)


async def test_without_an_account_nothing_is_done(connect: Connect) -> None:
    for token in ("nobody-" + "x" * 30, "short"):
        with pytest.raises(NotAuthenticated):
            await connect(token).verdicts(VerdictQuery(tasks=()))


async def test_calls_may_overlap(connect: Connect) -> None:
    foreman = connect(FOREMAN)
    purchases = await asyncio.gather(*(foreman.buy(order(f"purchase-{number % 2}")) for number in range(8)))
    assert len({purchase.purchase for purchase in purchases if purchase.tasks}) == 1
    assert (await foreman.open_account()).credits == 9
