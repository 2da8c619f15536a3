"""Two who change one account at the same moment, over two connections to PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import attrs
import pytest

from ec262.adapters.machine.system_entropy import SystemEntropy
from ec262.adapters.sql.repositories import SqlAccounts
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.errors import AccountFrozen, Ec262Error, NotAuthenticated
from ec262.domain.protocol.account_calls import OpenAccount, ReplaceToken
from ec262.services.discovery.administration import DiscoveryAdmin
from ec262.services.discovery.discovery_service import DiscoveryService
from tests.storage_crowd import foreman_token, service_over

WAIT_S = 0.5
"""Time enough for the other to come as far, where no lock keeps it."""

OLD = foreman_token(0)


@pytest.fixture
def databases(postgres_url: str) -> Iterator[tuple[SqlDatabase, SqlDatabase]]:
    """The same database, as two processes have it."""
    both = SqlDatabase(postgres_url), SqlDatabase(postgres_url)
    yield both
    for database in both:
        database.close()


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Begin a call; return its thread, and where its answer or error will be."""
    came: list[object] = []

    def run() -> None:
        try:
            came.append(call())
        except Ec262Error as error:
            came.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, came


def until_it_waits(thread: threading.Thread, database: SqlDatabase) -> None:
    """Wait until the thread's call waits for a lock, or has ended without one."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with database.engine.connect() as connection:
        while thread.is_alive() and not connection.exec_driver_sql(waiting).scalar_one():
            connection.rollback()  # what a transaction has seen of the activity does not change
            time.sleep(0.01)


def admin_over(database: SqlDatabase) -> DiscoveryAdmin:
    return DiscoveryAdmin(
        unit_of_work=database.unit_of_work,
        snapshot=database.snapshot,
        clock=time.time,
        entropy=SystemEntropy(),
    )


def test_an_invitation_neither_pays_nor_thaws_who_is_frozen_at_that_moment(
    databases: tuple[SqlDatabase, SqlDatabase],
) -> None:
    operators, services = databases
    service = service_over(services.unit_of_work)
    account = service.accounts.open(OLD)
    code = admin_over(operators).invite(credits=7, owner="lab").code
    with operators.unit_of_work() as uow:
        uow.accounts.lock(account.account)
        known = uow.accounts.get(account.account)
        assert known is not None
        uow.accounts.save(attrs.evolve(known, frozen=True))
        thread, came = in_thread(lambda: service.accounts.open(OLD, OpenAccount(invitation=code)))
        until_it_waits(thread, operators)
        uow.commit()
    thread.join()
    assert isinstance(came[0], AccountFrozen)
    status = service.accounts.status(OLD)
    assert (status.frozen, status.credits) == (True, 0)


def test_an_account_frozen_while_an_invitation_pays_stays_frozen(databases: tuple[SqlDatabase, SqlDatabase]) -> None:
    operators, services = databases
    service = service_over(services.unit_of_work)
    account = service.accounts.open(OLD).account
    with services.unit_of_work() as uow:
        uow.accounts.lock(account)
        known = uow.accounts.get(account)
        assert known is not None
        thread, _ = in_thread(lambda: admin_over(operators).freeze(account))
        until_it_waits(thread, operators)
        uow.accounts.save(attrs.evolve(known, owner="lab"))
        uow.commit()
    thread.join()
    view = admin_over(operators).account(account)
    assert (view.frozen, view.owner) == (True, "lab")


def test_of_two_new_tokens_one_opens_the_account(
    databases: tuple[SqlDatabase, SqlDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2)
    revoke = SqlAccounts.revoke

    def revoke_together(self: SqlAccounts, account: str) -> None:
        """Give the other the time to come as far as this; it cannot, if it waits for the account."""
        with suppress(threading.BrokenBarrierError):
            together.wait(WAIT_S)
        revoke(self, account)

    services = [service_over(database.unit_of_work) for database in databases]
    services[0].accounts.open(OLD)
    monkeypatch.setattr(SqlAccounts, "revoke", revoke_together)
    threads = [in_thread(_replacing(service, number)) for number, service in enumerate(services, start=1)]
    for thread, _ in threads:
        thread.join()
    assert [type(came[0]) for _, came in threads if came[0] is not None] == [NotAuthenticated]
    opened = []
    for number in (0, 1, 2):
        with suppress(NotAuthenticated):
            opened.append(services[0].accounts.status(foreman_token(number)))
    assert len(opened) == 1


def _replacing(service: DiscoveryService, number: int) -> Callable[[], object]:
    return lambda: service.accounts.replace_token(OLD, ReplaceToken(token=foreman_token(number)))
