"""Several service processes over one database, some of which are killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.discovery.ledger import Transfer, moved
from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory
from tests import storage_crowd
from tests.storage_crowd import GRANT, SHORT_S, populate, service_over

REPOSITORY = Path(__file__).parents[2]
PROCESSES = 2


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'discovery.sqlite'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def unit_of_work(url: str) -> Iterator[UnitOfWorkFactory]:
    database = SqlDatabase(url)
    yield database.unit_of_work
    database.close()


def start(url: str, number: int, way: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, storage_crowd.__file__, url, str(number), way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


def begin(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def test_no_worker_is_handed_out_twice(url: str, unit_of_work: UnitOfWorkFactory) -> None:
    """Nine workers of two slots are six teams of three at most, whoever buys them; the last ones may not fit."""
    service = service_over(unit_of_work)
    populate(service, foremen=PROCESSES, workers=9, slots=2)
    processes = [start(url, number, "buy") for number in range(PROCESSES)]
    begin(processes)
    for process in processes:
        assert process.communicate(timeout=60)[1] == ""
    with unit_of_work() as uow:
        busy = uow.tasks.busy(time.time())
        purchases = [each for each in uow.ledger.transfers() if each.reason.value == "purchase"]
    assert max(busy.values()) <= 2
    assert sum(busy.values()) == sum(each.amount for each in purchases)
    assert sum(busy.values()) >= 12
    assert service.audit() == PROCESSES * GRANT


def test_killed_in_the_middle_the_books_balance(url: str, unit_of_work: UnitOfWorkFactory) -> None:
    service = service_over(unit_of_work)
    populate(service, foremen=PROCESSES, workers=9, slots=50)
    processes = [start(url, number, "live") for number in range(PROCESSES)]
    begin(processes)
    for number in random.choices(range(PROCESSES), k=2):
        time.sleep(random.uniform(0.1, 0.4))
        assert processes[number].poll() is None, processes[number].communicate()[1]
        processes[number].kill()
        processes[number].communicate()
        service.audit()
        processes[number] = start(url, number, "live")
        begin([processes[number]])
    time.sleep(0.3)
    for process in processes:
        process.kill()
        process.communicate()
    later = service_over(unit_of_work, clock=lambda: time.time() + 10 * SHORT_S)
    later.sweep()
    assert later.audit() == PROCESSES * GRANT
    check_books(unit_of_work)


def check_books(unit_of_work: UnitOfWorkFactory) -> None:
    """Balances are what the transfers come to; what a task's replicas say is what was moved for it."""
    with unit_of_work() as uow:
        transfers, balances = uow.ledger.transfers(), uow.ledger.balances()
        tasks = uow.tasks.find({each.task for each in transfers if each.task is not None})
        assert uow.tasks.due(time.time() + 1000, limit=1) == []
    replayed: dict[str, int] = {}
    for each in transfers:
        replayed |= moved(replayed, each)
    assert {account: balance for account, balance in replayed.items() if balance} == balances
    assert len({each.id for each in transfers}) == len(transfers)
    assert not any(account.startswith("escrow:") for account in balances)
    assert Counter({task.id: len(task.replicas) for task in tasks}) == sums(transfers, "purchase")
    assert Counter({task.id: sum(each.paid for each in task.replicas) for task in tasks}) == sums(transfers, "win")
    assert sums(transfers, "win").total() > 0
    assert sums(transfers, "refund").total() > 0


def sums(transfers: Sequence[Transfer], reason: str) -> Counter[str]:
    counted: Counter[str] = Counter()
    for each in transfers:
        if each.reason.value == reason:
            counted[str(each.task)] += each.amount
    return counted
