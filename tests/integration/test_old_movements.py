"""Old movements of credits in real databases: added up while the service runs, and while others look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from sqlalchemy import text

from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.protocol.reason import Reason
from tests.discovery_process import database_of
from tests.unit.services.discovery.test_discovery_books import DAY_S, POLICY, office_over

WEEK = attrs.evolve(POLICY, history_s=3 * DAY_S)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlDatabase]:
    url = database_of(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = SqlDatabase(url)
    yield opened
    opened.close()


def rows(database: SqlDatabase, table: str) -> int:
    with database.engine.connect() as connection:
        return int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)  # noqa: S608 - a name from below


def test_a_database_does_not_keep_growing_with_every_task(database: SqlDatabase) -> None:
    office = office_over(database.unit_of_work, WEEK)
    for _ in range(6):
        office.a_day(tasks=5)
    transfers, movements = rows(database, "transfers"), office.admin.audit().transfers
    for _ in range(6):
        office.a_day(tasks=5)
        assert office.admin.audit().findings == ()
    assert rows(database, "transfers") <= transfers + 5
    assert office.admin.audit().transfers > 1.8 * movements
    assert rows(database, "folds") < 12
    entries = office.history()
    assert [entries[-2].reason, entries[-1].reason] == [Reason.MONTH, Reason.GRANT]
    assert entries[0].balance == office.town.credits()
    assert sum(each.change for each in entries) == office.town.credits()


def test_an_audit_finds_what_was_changed_in_what_was_added_up(database: SqlDatabase) -> None:
    office = office_over(database.unit_of_work, WEEK)
    for _ in range(6):
        office.a_day()
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE folds SET refund = refund + 1 WHERE purchase < 0"))
    account = office.town.service.accounts.open("foreman-" + "f" * 40).account
    together, alone = office.admin.audit().findings
    assert together == "the folded transfers add up to 1 credits, not 0"
    assert alone.startswith(f"user:{account} has ")
