"""Reading all of a database as it is at one moment, while others write."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ec262.adapters.machine.system_entropy import SystemEntropy
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.discovery.ledger import MINT, operator_grant, user_account
from ec262.domain.errors import Ec262Error
from ec262.entrypoints.http.metrics import PrometheusMeter
from ec262.services.discovery.administration import DiscoveryAdmin
from tests.discovery_process import database_of
from tests.discovery_town import FOREMAN, build_town, order

MOMENTS = 12
"""Different states of the books that are audited."""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlDatabase]:
    url = database_of(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = SqlDatabase(url)
    yield opened
    opened.close()


def grant(database: SqlDatabase, name: str) -> None:
    with database.unit_of_work() as uow:
        uow.ledger.post([operator_grant("somebody", 1, id=name, at=0)])
        uow.commit()


def test_a_snapshot_stays_as_it_is_and_keeps_nobody_waiting(database: SqlDatabase) -> None:
    grant(database, "before")
    with database.snapshot() as snapshot:
        assert snapshot.ledger.balance(MINT) == -1
        grant(database, "meanwhile")
        assert snapshot.ledger.balance(MINT) == -1
        assert snapshot.ledger.balance(user_account("somebody")) == 1
        assert len(snapshot.ledger.transfers()) == 1
    with database.snapshot() as later:
        assert later.ledger.balance(MINT) == -2


def test_a_snapshot_does_not_affect_others(database: SqlDatabase) -> None:
    """The next unit of work on the same connection is an ordinary one."""
    with database.snapshot() as snapshot:
        assert snapshot.ledger.balances() == {}
    grant(database, "after")
    with database.unit_of_work() as uow:
        assert uow.ledger.balance(MINT) == -1


def test_the_books_are_right_at_any_moment_of_a_busy_day(database: SqlDatabase) -> None:
    town = build_town(workers=4, grant=1000, unit_of_work=database.unit_of_work)
    admin = DiscoveryAdmin(
        unit_of_work=database.unit_of_work, snapshot=database.snapshot, clock=town.clock, entropy=SystemEntropy()
    )
    over = threading.Event()
    failures: list[Ec262Error] = []

    def work() -> None:
        number = 0
        try:
            while not over.is_set():
                number += 1
                for task in town.buy(order(f"purchase-{number:06}")).tasks:
                    for position in range(3):
                        town.commit(task, position, "same")
        except Ec262Error as error:
            failures.append(error)

    busy = threading.Thread(target=work)
    busy.start()
    sizes: set[int] = set()
    try:
        deadline = time.monotonic() + 30
        while len(sizes) < MOMENTS and time.monotonic() < deadline:
            audit = admin.audit()
            assert audit.findings == ()
            sizes.add(audit.transfers)
    finally:
        over.set()
        busy.join()
    assert failures == []
    assert len(sizes) == MOMENTS
    assert town.credits(FOREMAN) < 1000


def test_readers_neither_block_nor_wait(database: SqlDatabase) -> None:
    """Metrics are scraped every few seconds, and operators look when the service is busy."""
    meter = PrometheusMeter()
    town = build_town(workers=4, grant=1000, unit_of_work=meter.metered(database.unit_of_work, database.snapshot))
    town.buy(order("purchase-0"))
    admin = DiscoveryAdmin(
        unit_of_work=database.unit_of_work, snapshot=database.snapshot, clock=town.clock, entropy=SystemEntropy()
    )
    foreman = town.service.accounts.status(FOREMAN).account
    seen: dict[str, float] = {}
    told: list[object] = []

    def look() -> None:
        told.append((len(admin.accounts()), admin.account(foreman).credits, len(admin.history(foreman, limit=9))))
        told.append((admin.reputations(foreman), admin.invitations()))
        samples = (sample for family in meter.collect() for sample in family.samples)
        seen.update({"".join([sample.name, *sample.labels.values()]): sample.value for sample in samples})

    with database.unit_of_work() as uow:
        uow.pool.lock()
        uow.ledger.post([operator_grant(foreman, 1, id="under way", at=0)])
        assert uow.ledger.balance(MINT) == -1001
        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        looking.join(5)
        assert not looking.is_alive()
    assert told == [(5, 997, 2), ([], [])]
    assert seen["ec262_storage_up"] == 1
    assert seen["ec262_tasks_in_escrow"] == 1
    holders = {holder: seen[f"ec262_credits{holder}"] for holder in ("granted", "service", "users", "escrow")}
    assert holders == {"granted": 1000, "service": 0, "users": 997, "escrow": 3}
