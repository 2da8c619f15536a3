"""Any order of calls to the 2012 API, by anybody, at any time: what must always hold, held against a plain model."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from ec262.adapters.memory.unit_of_work_2012 import MemoryStore2012
from ec262.adapters.sql.legacy_2012.sql_unit_of_work_2012 import Sql2012
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.errors import InvalidRequest, PurchaseTooExpensive, UnknownClient, UnknownTask
from ec262.domain.legacy_2012.constants_2012 import Constants2012
from ec262.domain.legacy_2012.parameters_2012 import LEAVE_S, Ending, Registration
from ec262.domain.legacy_2012.tasks_2012 import Accepted2012, Rejected, Task2012
from ec262.domain.legacy_2012.unit_of_work_2012 import UnitOfWork2012Factory
from tests.town_2012 import Town2012, build_town

TASK_TTL_S = 100
PEOPLE = [f"10.0.0.{number}" for number in range(1, 14)]
people = st.sampled_from(PEOPLE)


@attrs.define
class Person:
    """The model's idea of a client."""

    credits: int = 12
    completed: int = 0
    failed: int = 0
    pooled_until: float = 0.0
    """When it leaves the pool; 0 if it is not there."""


class Machine(RuleBasedStateMachine):
    """People register, buy, ask for keys, end tasks; time passes."""

    tasks = Bundle("tasks")

    def storage(self) -> UnitOfWork2012Factory:
        return MemoryStore2012().unit_of_work

    @initialize()
    def begin(self) -> None:
        self.town: Town2012 = build_town(Constants2012(task_ttl_s=TASK_TTL_S), unit_of_work=self.storage())
        self.known: dict[str, Person] = {}
        self.open: dict[str, Task2012] = {}
        self.seen: set[str] = set()
        self.everybody_comes()

    def expire(self) -> None:
        """What any call does first."""
        for task in [task for task in self.open.values() if task.expires_at <= self.town.clock.now]:
            self.known[task.foreman].credits += 3
            del self.open[task.id]

    # --- what people do ---------------------------------------------------------------------------------------------

    @rule(addr=people, port=st.integers(1, 65535), ttl_s=st.sampled_from([LEAVE_S, 1, 30, 60, 86_400]))
    def register(self, addr: str, port: int, ttl_s: int) -> None:
        client = self.town.service.register(addr, Registration(port=port, ttl_s=ttl_s))
        self.expire()
        person = self.known.setdefault(addr, Person())
        person.pooled_until = 0 if ttl_s == LEAVE_S else self.town.clock.now + ttl_s
        assert (client.port, client.expires_at) == (port, self.town.clock.now + ttl_s)

    @rule()
    def everybody_comes(self) -> None:
        for addr in PEOPLE[:-1]:
            self.register(addr, 4000, 86_400)

    @rule(target=tasks, addr=st.sampled_from(PEOPLE[-3:]), wanted=st.integers(1, 6))
    def buy(self, addr: str, wanted: int) -> object:
        now = self.town.clock.now
        self.expire()
        foreman = self.known.setdefault(addr, Person())
        pool = {worker for worker, person in self.known.items() if worker != addr and person.pooled_until > now}
        count = min(wanted, len(pool) // 3)
        try:
            bought = self.town.buy(wanted, foreman=addr)
        except PurchaseTooExpensive as error:
            told = (error.have, error.need)
            assert told == (foreman.credits, 3 * count)
            assert foreman.credits < 3 * count
            return multiple()
        assert len(bought) == count
        drawn = [worker.addr for task in bought for worker in task.workers]
        assert len(drawn) == len(set(drawn)) == 3 * count
        assert set(drawn) <= pool
        for worker in drawn:
            self.known[worker].pooled_until = 0
        foreman.credits -= 3 * count
        for task in bought:
            assert task.id not in self.seen
            self.seen.add(task.id)
            self.open[task.id] = task
        return multiple(*bought)

    @rule(task=tasks, addr=people)
    def ask_for_the_key(self, task: Task2012, addr: str) -> None:
        self.expire()
        may = task.id in self.open and addr in {worker.addr for worker in task.workers}
        try:
            key = self.town.service.key(addr, task.id)
        except UnknownTask:
            assert not may
        else:
            assert may
            assert key == task.key

    @rule(
        task=tasks,
        addr=st.none() | st.none() | people,
        valid=st.sampled_from(["1", "1", "0", None, "2", ""]),
        missing=st.none() | st.sampled_from([*PEOPLE, "10.0.0.1:4000", "rubbish"]),
    )
    def end(self, task: Task2012, addr: str | None, valid: str | None, missing: str | None) -> None:
        addr = addr or task.foreman
        self.expire()
        may = task.id in self.open and addr == task.foreman
        try:
            ended = self.town.service.end(addr, Ending(task=task.id, valid=valid, missing=missing))
        except UnknownTask:
            assert not may
            return
        except InvalidRequest:
            assert may
            assert valid in {"2", ""}
            return
        assert may
        del self.open[task.id]
        if valid == "1":
            assert ended == Accepted2012(key=task.key)
            for worker in task.workers:
                person = self.known[worker.addr]
                person.credits += 1
                late = missing is not None and missing.partition(":")[0] == worker.addr
                person.failed += late
                person.completed += not late
        else:
            assert valid in {"0", None}
            self.known[addr].credits += 3
            assert ended == Rejected(credits=self.known[addr].credits)

    @rule(task=consumes(tasks))
    def forget(self, task: Task2012) -> None:
        """The test's own memory is short; the service's is not."""

    @rule(seconds=st.sampled_from([0.25, 30, 60, 99.75, 100]))
    def time_passes(self, seconds: float) -> None:
        self.town.clock.advance(seconds)

    @rule()
    def sweep(self) -> None:
        self.town.service.sweep()
        self.expire()

    @rule(addr=people)
    def ask_for_the_record(self, addr: str) -> None:
        self.expire()
        try:
            credits = self.town.credits(addr)
        except UnknownClient:
            assert addr not in self.known
        else:
            assert credits == self.known[addr].credits

    # --- what holds after every step --------------------------------------------------------------------------------

    @invariant()
    def no_credit_is_made_or_lost(self) -> None:
        """Credits of all clients + 3 x open tasks = 12 x known clients, in the storage as it is."""
        with self.town.unit_of_work() as uow:
            totals = uow.ledger.totals()
            assert uow.ledger.unbalanced() == []
        assert totals.granted == 12 * len(self.known)
        assert totals.credits + totals.escrow == totals.granted
        assert totals.escrow == 3 * len(self.open)
        assert self.town.service.audit() == totals.granted

    @invariant()
    def everybody_is_as_the_model_says(self) -> None:
        with self.town.unit_of_work() as uow:
            clients = {client.addr: client for client in uow.clients.find(PEOPLE)}
            tasks = {name: uow.tasks.get(name) for name in self.seen}
        assert clients.keys() == self.known.keys()
        for addr, person in self.known.items():
            client = clients[addr]
            assert (client.credits, client.tasks_completed, client.tasks_failed) == (
                person.credits,
                person.completed,
                person.failed,
            )
        assert {name: task for name, task in tasks.items() if task is not None} == self.open


class SqliteMachine(Machine):
    """The same over SQLite, where between any two steps the service may die and come back."""

    def storage(self) -> UnitOfWork2012Factory:
        self.folder = Path(tempfile.mkdtemp())
        self.open_database()
        return lambda: self.sql.unit_of_work()  # noqa: PLW0108 - a restart makes another

    def open_database(self) -> None:
        self.database = SqlDatabase(f"sqlite:///{self.folder / 'discovery.sqlite'}")
        self.sql = Sql2012(self.database.engine)

    @rule()
    def restart(self) -> None:
        self.database.close()
        self.open_database()

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            shutil.rmtree(self.folder)


@pytest.mark.parametrize(
    ("machine", "examples", "steps"), [(Machine, 100, 40), (SqliteMachine, 5, 25)], ids=["memory", "sqlite"]
)
def test_the_rules_of_2012_hold(machine: type[Machine], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
