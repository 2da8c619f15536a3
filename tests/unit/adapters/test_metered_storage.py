"""Tasks are counted when what happened to them is durable, each change once."""

from __future__ import annotations

from collections import Counter

import pytest

from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.adapters.metered_storage import MeteredUnitOfWork
from ec262.domain.protocol.foreman_calls import BuyDisputes
from tests.discovery_town import FOREMAN, Town, build_town, order


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


@pytest.fixture
def town(counts: Counter[str]) -> Town:
    store = MemoryStore()
    return build_town(workers=4, grant=100, unit_of_work=lambda: MeteredUnitOfWork(store.unit_of_work(), counts.update))


def test_a_task_that_is_won_and_settled(town: Town, counts: Counter[str]) -> None:
    task = town.buy_one()
    assert counts == {"bought": 1}
    for position in range(3):
        town.commit(task, position, "same")
    assert counts == {"bought": 1, "won": 1}
    town.clock.advance(601)
    for _ in range(2):
        town.service.sweep()
    assert counts == {"bought": 1, "won": 1, "settled": 1}


def test_a_task_that_nobody_does(town: Town, counts: Counter[str]) -> None:
    town.buy(order(tasks=1, deadline_s=10))
    town.clock.advance(11)
    assert town.credits() == 100
    assert counts == {"bought": 1, "refunded": 1}


def test_a_task_that_is_disputed(town: Town, counts: Counter[str]) -> None:
    task = town.buy_one()
    for position in range(3):
        town.commit(task, position, f"another {position}")
    town.service.foremen.dispute(FOREMAN, BuyDisputes(tasks=(task.task,)))
    assert counts == {"bought": 1, "disputed": 1}


def test_uncommitted_changes_do_not_count(counts: Counter[str]) -> None:
    store = MemoryStore()
    town = build_town(workers=3, unit_of_work=store.unit_of_work)
    task = town.buy_one()
    with MeteredUnitOfWork(store.unit_of_work(), counts.update) as uow:
        uow.tasks.add(uow.tasks.find([task.task]))
    assert counts == {}


def test_it_passes_everything_on(town: Town, counts: Counter[str]) -> None:
    town.buy(order("purchase-1"))
    assert len(town.service.foremen.buy(FOREMAN, order("purchase-1")).tasks) == 1
    assert town.service.audit() == 100
    assert counts == {"bought": 1}
