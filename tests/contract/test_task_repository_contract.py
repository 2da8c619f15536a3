"""What every storage of the discovery service has to do with tasks."""

from __future__ import annotations

import attrs
import pytest

from ec262.domain.discovery import ledger
from ec262.domain.discovery.ledger import MINT
from ec262.domain.discovery.tasks import CLAIM_S, Task, add_replicas, commit, dispute, expire, fetch, give_up
from ec262.domain.discovery.unit_of_work import Holdings, Process, UnitOfWork, UnitOfWorkFactory
from tests.discovery_town import FINGERPRINT, digest
from tests.stored import after, at_once, replica, task, transfer, with_accounts

DRAWN_AT = task().replicas[0].drawn_at
ADDED = add_replicas(task(), (replica("work4", purchase="p2", drawn_at=61.5),), deadline=170)


def of(workers: dict[str, int]) -> dict[Process, int]:
    """Slots of workers whose processes all have one certificate."""
    return {(worker, FINGERPRINT): count for worker, count in workers.items()}


def disputed() -> Task:
    given = give_up(task(), worker="work2")
    for worker in ("work1", "work3"):
        given, _ = commit(given, worker=worker, digest=digest(worker), now=0)
    return dispute(given, now=0)[0]


@pytest.mark.parametrize(
    "changed",
    [
        after(task(), "work3"),
        after(task(), "work3", "work2"),
        after(task(), "work3", "work2", "work1"),
        expire(task(), now=100)[0],
        expire(after(task(), "work3", "work2"), now=100)[0],
        fetch(task(), worker="work1"),
        ADDED,
        after(ADDED, "work1", "work4"),
        disputed(),
    ],
    ids=["committed", "won", "all paid", "refunded", "settled", "fetched", "replica added", "it wins", "disputed"],
)
def test_tasks_are_kept_as_they_are(unit_of_work: UnitOfWorkFactory, changed: Task) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([task()])
        uow.commit()
        assert uow.tasks.find(["task1"]) == [task()]
        uow.tasks.save(uow.tasks.locked(["task1"]))
        uow.tasks.save([changed])
        uow.commit()
    with unit_of_work() as uow:
        assert uow.tasks.find(["task1"]) == [changed]
        assert uow.tasks.locked(["task1"]) == [changed]
        (found,) = uow.tasks.find(["task1"])
        assert {type(each.paid) for each in found.replicas} == {bool}


def test_tasks_are_saved_step_by_step(unit_of_work: UnitOfWorkFactory) -> None:
    """In one unit of work, in the next, and without having been read in it."""
    steps = [fetch(task(), worker="work1"), after(task(), "work1"), after(task(), "work1", "work3")]
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([task(), task("task2")])
        uow.tasks.save(steps[:1])
        assert uow.tasks.find(["task1"]) == steps[:1]
        uow.tasks.save(steps[1:2])
        uow.commit()
        uow.tasks.save(steps[2:])
        uow.commit()
    with unit_of_work() as uow:
        assert uow.tasks.find(["task1", "task2"]) == [steps[2], task("task2")]


def test_tasks_are_found_in_order_of_their_ids_and_once(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([task(name) for name in ("task3", "task1", "Task0", "_task")])
        uow.tasks.add([task("task2", purchase="p2")])
        for find in (uow.tasks.find, uow.tasks.locked):
            assert [each.id for each in find(["task2", "nope", "_task", "Task0", "task2"])] == [
                "Task0",
                "_task",
                "task2",
            ]
            assert find([]) == []


def test_tasks_are_found_by_the_purchases_of_their_replicas(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([task("task3"), task("task1"), task("task2", purchase="p3")])
        extended = add_replicas(task("task1"), (replica("work4", purchase="p2"),), deadline=100)
        uow.tasks.save([extended])
        assert uow.tasks.of_purchase("p1") == [extended, task("task3")]
        assert uow.tasks.of_purchase("p2") == [extended]
        assert uow.tasks.of_purchase("p4") == []


def test_many_tasks_at_once(unit_of_work: UnitOfWorkFactory) -> None:
    many = [task(f"task{number:04}") for number in range(1000)]
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add(many)
        uow.commit()
        assert uow.tasks.locked([each.id for each in many]) == many
        won = [after(each, "work1", "work2") for each in many]
        uow.tasks.save(won)
        uow.commit()
        assert uow.tasks.of_purchase("p1") == won


def test_due_are_those_whose_deadline_was_not_applied(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([task(f"task{number}", deadline=number * 10) for number in (1, 2, 3)])
        uow.tasks.save([after(task("task2", deadline=20), "work1", "work2")])
        assert uow.tasks.due(9.5, limit=9) == []
        assert {each.id for each in uow.tasks.due(20, limit=9)} == {"task1", "task2"}
        assert len(uow.tasks.due(30, limit=2)) == 2
        uow.tasks.save([expire(due, now=30)[0] for due in uow.tasks.due(30, limit=9)])
        assert uow.tasks.due(1e9, limit=9) == []


def test_busy_are_those_whose_commitment_an_open_task_awaits(unit_of_work: UnitOfWorkFactory) -> None:
    now = DRAWN_AT
    with unit_of_work() as uow:
        with_accounts(uow)
        assert uow.tasks.busy(now) == {}
        uow.tasks.add([task("task1"), task("task2")])
        assert uow.tasks.busy(now) == of({"work1": 2, "work2": 2, "work3": 2})
        uow.tasks.save([after(task("task1"), "work1")])
        assert uow.tasks.busy(now) == of({"work1": 1, "work2": 2, "work3": 2})
        uow.tasks.save([after(task("task1"), "work1", "work2")])
        assert uow.tasks.busy(now) == of({"work1": 1, "work2": 1, "work3": 1})
        uow.tasks.save([expire(task("task2"), now=100)[0]])
        assert uow.tasks.busy(now) == {}


def test_a_worker_that_gave_up_or_never_asked_is_not_busy(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([task("task1", deadline=DRAWN_AT + 1000)])
        given_up = fetch(give_up(task("task1", deadline=DRAWN_AT + 1000), worker="work2"), worker="work3")
        uow.tasks.save([given_up])
        assert uow.tasks.busy(DRAWN_AT + CLAIM_S - 0.25) == of({"work1": 1, "work3": 1})
        assert uow.tasks.busy(DRAWN_AT + CLAIM_S) == of({"work3": 1})
        assert uow.tasks.find(["task1"]) == [given_up]


def test_the_nearer_the_deadline_the_sooner_is_a_worker_free_that_never_asked(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([fetch(task("task1", deadline=DRAWN_AT + 40), worker="work3")])
        assert uow.tasks.busy(DRAWN_AT + 3.75) == of({"work1": 1, "work2": 1, "work3": 1})
        assert uow.tasks.busy(DRAWN_AT + 4) == of({"work3": 1})


def test_holdings_are_the_foremans_escrows(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        assert uow.tasks.holdings("boss1") == Holdings(tasks=0, credits=0)
        uow.tasks.add([task("task1"), task("task2"), task("task3", foreman="work1")])
        assert uow.tasks.holdings("boss1") == Holdings(tasks=2, credits=6)
        uow.tasks.save([after(task("task1"), "work1", "work2")])
        assert uow.tasks.holdings("boss1") == Holdings(tasks=2, credits=4)
        uow.tasks.add([task("task4"), attrs.evolve(disputed(), id="task5")])
        uow.tasks.save([after(task("task4"), "work1", "work2", "work3")])
        assert uow.tasks.holdings("boss1") == Holdings(tasks=2, credits=4)  # task4 and task5 hold nothing
        uow.tasks.save([expire(task("task2"), now=100)[0]])
        assert uow.tasks.holdings("boss1") == Holdings(tasks=1, credits=1)


def test_forgotten_are_those_whose_time_is_over_and_deadline_applied(unit_of_work: UnitOfWorkFactory) -> None:
    with unit_of_work() as uow:
        with_accounts(uow)
        given = [task("task1", deadline=10), task("task2", deadline=10), task("task3", deadline=11)]
        uow.tasks.add(given)
        uow.tasks.save([expire(each, now=20)[0] for each in (given[0], given[2])])
        uow.tasks.forget(60)
        assert [each.id for each in uow.tasks.find(["task1", "task2", "task3"])] == ["task2", "task3"]
        uow.commit()
        uow.tasks.forget(60)
        assert [each.id for each in uow.tasks.of_purchase("p1")] == ["task2", "task3"]


def test_a_deadline_is_applied_by_one(ways_in: list[UnitOfWorkFactory]) -> None:
    def apply(uow: UnitOfWork, _name: str) -> None:
        for due in uow.tasks.due(20, limit=3):
            expired, transfers = expire(due, now=20)
            uow.tasks.save([expired])
            uow.ledger.post(transfers)

    names = [f"task{number}" for number in range(20)]
    with ways_in[0]() as uow:
        with_accounts(uow)
        uow.tasks.add([task(name, deadline=10) for name in names])
        uow.ledger.post([ledger.grant("boss1", 60, at=0)])
        uow.ledger.post([transfer(f"t-{name}", "user:boss1", f"escrow:{name}", 3) for name in names])
        uow.commit()
    at_once(ways_in, apply)
    with ways_in[0]() as uow:
        assert uow.tasks.due(20, limit=1) == []
        assert uow.ledger.balances() == {MINT: -60, "user:boss1": 60}


def test_commitments_at_once_are_all_taken_and_paid(ways_in: list[UnitOfWorkFactory]) -> None:
    """Four workers commit to the same tasks, which each of them names in another order."""
    names = [f"task{number}" for number in range(8)]
    given = [attrs.evolve(ADDED, id=name) for name in names]

    def commit_all(uow: UnitOfWork, name: str) -> None:
        number = int(name.split("-")[1])
        worker = f"work{number + 1}"
        for found in uow.tasks.locked(names[number:] + names[:number]):
            committed, transfers = commit(found, worker=worker, digest=digest("a"), now=0)
            uow.tasks.save([committed])
            uow.ledger.post(transfers)

    with ways_in[0]() as uow:
        with_accounts(uow)
        uow.tasks.add(given)
        uow.ledger.post([ledger.grant("boss1", 32, at=0)])
        uow.ledger.post([transfer(f"t-{name}", "user:boss1", f"escrow:{name}", 4) for name in names])
        uow.commit()
    at_once(ways_in, commit_all, times=1)
    with ways_in[0]() as uow:
        assert uow.ledger.balances() == {MINT: -32} | {f"user:work{number}": 8 for number in (1, 2, 3, 4)}
        for found in uow.tasks.find(names):
            assert sorted(each.arrival for each in found.replicas if each.arrival is not None) == [0, 1, 2, 3]
            assert all(each.paid for each in found.replicas)


def test_late_are_those_who_asked_for_their_part_in_a_task_that_is_decided(unit_of_work: UnitOfWorkFactory) -> None:
    asked = fetch(task("task1"), worker="work3")
    won = after(asked, "work1", "work2")
    with unit_of_work() as uow:
        with_accounts(uow)
        uow.tasks.add([asked, after(task("task2"), "work1", "work2")])
        assert uow.tasks.late() == {}
        uow.tasks.save([won])
        assert uow.tasks.late() == of({"work3": 1})
        assert uow.tasks.busy(DRAWN_AT) == {}
        for ended in (after(won, "work3"), give_up(won, worker="work3"), expire(won, now=100)[0]):
            uow.tasks.save([won])
            assert uow.tasks.late() == of({"work3": 1})
            uow.tasks.save([ended])
            assert uow.tasks.late() == {}
