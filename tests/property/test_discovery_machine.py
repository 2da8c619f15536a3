"""Whatever foremen, workers, the operator and the clock do, in whatever order and however often, and whenever the
service dies: trust.md's "What must always hold" holds, after every step."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.discovery.ledger import MINT, SERVICE, Transfer, escrow_account
from ec262.domain.discovery.tasks import Task
from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory
from ec262.domain.protocol.reason import Reason
from ec262.domain.verification.task_state import TaskState
from tests.postgres import PostgresServer
from tests.property.discovery_account_rules import AccountRules
from tests.property.discovery_foreman_rules import ForemanRules


class DiscoveryMachine(AccountRules, ForemanRules):
    """Everybody, over a storage in memory."""

    def storage(self) -> UnitOfWorkFactory:
        return MemoryStore().unit_of_work

    @invariant()
    def the_books_are_those_of_the_model(self) -> None:
        with self.unit_of_work() as uow:
            balances = dict(uow.ledger.balances())
        assert balances == {account: balance for account, balance in self.model.balances.items() if balance}
        assert sum(balances.values()) == 0
        assert all(balance > 0 for account, balance in balances.items() if account != MINT)

    @invariant()
    def every_share_moves_once_and_to_whom_it_is_due(self) -> None:
        with self.unit_of_work() as uow:
            transfers = uow.ledger.transfers()
            stored = {task.id: task for task in uow.tasks.find(self.tasks)}
        assert len({transfer.id for transfer in transfers}) == len(transfers)
        assert stored.keys() == self.model.jobs.keys()
        of_task: dict[str, list[Transfer]] = {}
        for transfer in transfers:
            if transfer.task is not None:
                of_task.setdefault(transfer.task, []).append(transfer)
        for name, moves in of_task.items():
            self.check_moves(name, moves, stored.get(name))

    def check_moves(self, name: str, moves: Sequence[Transfer], task: Task | None) -> None:
        escrow, sums, shares = escrow_account(name), Counter[Reason](), Counter[str]()
        for move in moves:
            sums[move.reason] += move.amount
            assert escrow == (move.credit if move.reason is Reason.PURCHASE else move.debit)
            if move.reason in {Reason.WIN, Reason.DISPUTE}:
                shares[move.credit] += move.amount
            elif move.reason is Reason.UNPAID:
                assert move.credit == SERVICE
        assert set(shares.values()) <= {1}
        held = task.escrow if task is not None else 0
        assert sums[Reason.PURCHASE] == held + sum(sums[reason] for reason in Reason if reason is not Reason.PURCHASE)
        assert not (sums[Reason.REFUND] and (sums[Reason.WIN] or sums[Reason.DISPUTE]))
        assert not (sums[Reason.WIN] and sums[Reason.DISPUTE])
        assert not (sums[Reason.REFUND] and name in self.told), "a key was told, and credits came back"
        if task is not None:
            assert {move.debit if move.reason is Reason.PURCHASE else move.credit for move in moves} <= {
                SERVICE,
                f"user:{task.foreman}",
                *(f"user:{replica.worker}" for replica in task.replicas),
            }
            assert (task.key is None) == (task.state is TaskState.REFUNDED)
            if sums[Reason.REFUND]:
                asked = sum(replica.fetched for replica in task.replicas)
                assert task.state is TaskState.REFUNDED
                assert 2 * sums[Reason.UNPAID] <= asked + 1

    @invariant()
    def the_tasks_are_those_of_the_model(self) -> None:
        with self.unit_of_work() as uow:
            stored = uow.tasks.find(self.tasks)
        for task in stored:
            job = self.model.jobs[task.id]
            assert (task.state, task.escrow, task.deadline) == (job.state, job.escrow, job.deadline)
            workers = [replica.worker for replica in task.replicas]
            assert len(set(workers)) == len(workers)
            assert sorted(workers) == sorted(part.worker for part in job.parts)
            assert {replica.worker for replica in task.replicas if replica.paid} == {
                part.worker for part in job.parts if part.paid
            }

    def teardown(self) -> None:
        if hasattr(self, "admin"):
            assert not self.admin.audit().findings


class SqliteMachine(DiscoveryMachine):
    """The same over SQLite. Who dies leaves the files as they are in that moment, and the service is started over
    them."""

    def storage(self) -> UnitOfWorkFactory:
        self.folder = Path(tempfile.mkdtemp())
        self.graves: list[tuple[SqlDatabase, Path]] = []
        self.open_folder()
        return lambda: self.database.unit_of_work()  # noqa: PLW0108 - a restart makes another database

    def open_folder(self) -> None:
        self.database = SqlDatabase(f"sqlite:///{self.folder / 'discovery.sqlite'}")

    def restart(self) -> None:
        dead, self.folder = self.folder, Path(tempfile.mkdtemp())
        shutil.copytree(dead, self.folder, dirs_exist_ok=True)
        self.graves.append((self.database, dead))
        self.open_folder()

    def teardown(self) -> None:
        if hasattr(self, "database"):
            super().teardown()
            for database, folder in (*self.graves, (self.database, self.folder)):
                database.close()
                shutil.rmtree(folder)


class PostgresMachine(DiscoveryMachine):
    """The same over PostgreSQL, which undoes what the dead have left."""

    server: ClassVar[PostgresServer]

    def storage(self) -> UnitOfWorkFactory:
        self.url = self.server.fresh_url()
        self.database = SqlDatabase(self.url)
        self.graves: list[SqlDatabase] = []
        return lambda: self.database.unit_of_work()  # noqa: PLW0108 - a restart makes another database

    def restart(self) -> None:
        self.graves.append(self.database)
        self.database = SqlDatabase(self.url)

    def teardown(self) -> None:
        if hasattr(self, "database"):
            super().teardown()
            for database in (*self.graves, self.database):
                database.close()
            self.server.drop(self.url)


def run(machine: type[DiscoveryMachine], *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.mark.timeout(300)  # much to compute: where others have the processors, it takes a while
def test_the_rules_hold_in_memory() -> None:
    run(DiscoveryMachine, examples=60, steps=80)


def test_the_rules_hold_over_sqlite() -> None:
    run(SqliteMachine, examples=12, steps=40)


def test_the_rules_hold_over_postgresql(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresMachine, "server", postgres_server, raising=False)
    run(PostgresMachine, examples=4, steps=30)
