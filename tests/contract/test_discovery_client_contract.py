"""What every client of the discovery service has to do: the same calls and refusals, in memory and over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
from ec262.adapters.memory.discovery import MemoryDiscovery
from ec262.domain.errors import (
    AddressUnreachable,
    CommitmentConflict,
    LimitReached,
    NotAuthenticated,
    PurchaseConflict,
    PurchaseTooExpensive,
    TaskClosed,
    UnknownTask,
    refusal,
)
from ec262.domain.ports.discovery import ForemanDiscovery, WorkerDiscovery
from ec262.domain.protocol.account_calls import HistoryQuery
from ec262.domain.protocol.foreman_calls import (
    AddReplicas,
    BuyDisputes,
    DeliveryReport,
    DeliveryReports,
    PoolQuery,
    ReplicaOrder,
    VerdictQuery,
)
from ec262.domain.protocol.worker_calls import Assignment, AssignmentQuery, Commitment, CommitResults, GiveUp
from ec262.domain.verification.task_state import TaskState
from ec262.entrypoints.discovery.discovery_api import discovery_app
from ec262.services.discovery.discovery_policy import Policy
from tests.discovery_town import FOREMAN, REQUIREMENT, Town, build_town, digest, order, registration, worker_token
from tests.live_discovery import served

Client = MemoryDiscovery | HttpDiscovery
Connect = Callable[[str], Client]


@pytest.fixture
def town() -> Town:
    return build_town(workers=3, policy=Policy(grant=0, max_open_tasks=3))


@pytest.fixture(params=["memory", "http"])
def url(request: pytest.FixtureRequest, town: Town) -> Iterator[str | None]:
    if request.param == "memory":
        yield None
    else:
        with served(discovery_app(town.service, town.bell)) as address:
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


async def assignment(worker: WorkerDiscovery, task: str) -> Assignment:
    """Read one assignment. Raises what it is refused with."""
    reply = await worker.assignments(AssignmentQuery(tasks=(task,)))
    for refused in reply.refused:
        raise refusal(refused.error, refused.message)
    return reply.assignments[0]


async def commit(worker: WorkerDiscovery, task: str, text: str) -> None:
    """Commit to one task. Raises what it is refused with."""
    reply = await worker.commit(CommitResults(commitments=(Commitment(task=task, digest=digest(text)),)))
    for refused in reply.refused:
        raise refusal(refused.error, refused.message)
    assert reply.tasks == (task,)


async def give_up(worker: WorkerDiscovery, task: str) -> None:
    """Give one task up. Raises what it is refused with."""
    for refused in (await worker.give_up(GiveUp(tasks=(task,)))).refused:
        raise refusal(refused.error, refused.message)


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
        part = await assignment(worker, task.task)
        assert part.secret == replica.secret
        await commit(worker, task.task, "a")
        await commit(worker, task.task, "a")
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


async def test_a_shortage_is_reported(connect: Connect) -> None:
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
        await assignment(worker, "0" * 32)
    with pytest.raises(UnknownTask):
        await assignment(connect(FOREMAN), task.task)
    with pytest.raises(UnknownTask):
        await give_up(worker, "0" * 32)
    quitter = connect(town.tokens[task.replicas[1].worker])
    await give_up(quitter, task.task)
    with pytest.raises(TaskClosed):
        await commit(quitter, task.task, "a")
    await commit(worker, task.task, "a")
    with pytest.raises(CommitmentConflict):
        await commit(worker, task.task, "b")
    town.prober.silent.add(("127.0.0.1", 4666))
    with pytest.raises(AddressUnreachable, match="4666"):
        await worker.register(registration(4666))
    town.clock.advance(600)
    with pytest.raises(TaskClosed):
        await assignment(worker, task.task)


async def test_a_batch_is_refused_item_by_item(connect: Connect, town: Town) -> None:
    task = town.buy_one()
    worker = connect(town.tokens[task.replicas[0].worker])
    unknown = "0" * 32
    parts = await worker.assignments(AssignmentQuery(tasks=(unknown, task.task, task.task)))
    assert [part.task for part in parts.assignments] == [task.task, task.task]
    assert [(refused.task, refused.error) for refused in parts.refused] == [(unknown, "unknown_task")]
    commitments = tuple(
        Commitment(task=name, digest=digest(text))
        for name, text in [(task.task, "a"), (unknown, "a"), (task.task, "b"), (task.task, "a")]
    )
    committed = await worker.commit(CommitResults(commitments=commitments))
    assert committed.tasks == (task.task, task.task)
    assert [refused.error for refused in committed.refused] == ["unknown_task", "commitment_conflict"]
    freed = await worker.give_up(GiveUp(tasks=(task.task, unknown)))
    assert (freed.tasks, [refused.error for refused in freed.refused]) == ((task.task,), ["unknown_task"])


async def test_a_foreman_waits_for_news(connect: Connect, town: Town) -> None:
    task = town.buy_one()
    foreman = connect(FOREMAN)
    query = VerdictQuery(tasks=(task.task,), wait_s=10)
    waiting = asyncio.create_task(foreman.verdicts(query))
    await asyncio.sleep(0.1)
    town.commit(task, 0, "a")
    await asyncio.sleep(0.1)
    assert not waiting.done()
    town.commit(task, 1, "a")
    (verdict,) = (await asyncio.wait_for(waiting, 5)).verdicts
    assert verdict.state is TaskState.WON
    assert len((await foreman.verdicts(query)).verdicts) == 1  # at once


async def test_waiting_has_an_end_and_is_not_for_strangers_tasks(connect: Connect, town: Town) -> None:
    task = town.buy_one()
    assert (await connect(FOREMAN).verdicts(VerdictQuery(tasks=(task.task,), wait_s=0.1))).verdicts[0].outstanding == 3
    stranger = connect(town.tokens[task.replicas[0].worker])
    assert (await stranger.verdicts(VerdictQuery(tasks=(task.task,), wait_s=10))).verdicts == ()


async def test_more_replicas_a_dispute_and_a_report(connect: Connect, town: Town) -> None:
    task = town.buy_one()
    foreman = connect(FOREMAN)
    for position, text in enumerate("abc"):
        town.commit(task, position, text)
    town.add_worker(7)
    command = AddReplicas(purchase="addition-1", orders=(ReplicaOrder(task=task.task),), deadline_s=60)
    added = await foreman.add_replicas(command)
    assert await foreman.add_replicas(command) == added
    assert (added.price, len(added.tasks[0].replicas), added.shortfall) == (1, 1, "")
    await give_up(connect(town.tokens[added.tasks[0].replicas[0].worker]), task.task)
    (verdict,) = (await foreman.dispute(BuyDisputes(tasks=(task.task,)))).verdicts
    assert verdict.state is TaskState.DISPUTED
    assert {result.digest for result in verdict.results} == {digest(text) for text in "abc"}
    assert verdict.key is not None
    (other,) = town.buy(order("purchase-2")).tasks
    for position in range(2):
        town.commit(other, position, "a")
    lazy = other.replicas[0].worker
    for _ in range(2):
        await foreman.report(DeliveryReports(reports=(DeliveryReport(task=other.task, worker=lazy),)))
    assert (await connect(town.tokens[lazy]).account()).reports == 1


async def test_the_history_explains_the_balance(connect: Connect, town: Town) -> None:
    task = town.buy_one()
    foreman = connect(FOREMAN)
    history = await foreman.history(HistoryQuery())
    assert [(entry.change, entry.balance) for entry in history.entries] == [(-3, 9), (12, 12)]
    assert history.entries[0].text == f"bought 3 replicas of task {task.task}"
    first = await foreman.history(HistoryQuery(limit=1))
    assert first.more
    rest = await foreman.history(HistoryQuery(before=first.entries[-1].position))
    assert first.entries + rest.entries == history.entries


async def test_a_token_is_replaced_and_an_account_closed(connect: Connect) -> None:
    old, new = connect(FOREMAN), "another-" + "a" * 40
    before = await old.account()
    await old.replace_token(new)
    for refused in (old.account, old.open_account):
        with pytest.raises(NotAuthenticated):
            await refused()
    assert await connect(new).account() == before
    await connect(new).close_account()
    with pytest.raises(NotAuthenticated):
        await connect(new).open_account()


async def test_without_an_account_nothing_is_done(connect: Connect) -> None:
    for token in ("nobody-" + "x" * 30, "short"):
        with pytest.raises(NotAuthenticated):
            await connect(token).verdicts(VerdictQuery(tasks=()))


async def test_calls_may_overlap(connect: Connect) -> None:
    foreman = connect(FOREMAN)
    purchases = await asyncio.gather(*(foreman.buy(order(f"purchase-{number % 2}")) for number in range(8)))
    assert len({purchase.purchase for purchase in purchases if purchase.tasks}) == 1
    assert (await foreman.open_account()).credits == 9
