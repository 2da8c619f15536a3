"""Whatever foremen, workers and the clock do, in whatever order and however often: credits are conserved, a share of an
escrow moves once, and a key is given for a win alone."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.adapters.sql.unit_of_work import SqlDatabase
from ec262.domain.commands import BoughtTask, BuyTasks, CommitResult, Purchase, TaskState, Verdict, VerdictQuery
from ec262.domain.errors import (
    CommitmentConflict,
    DiscoveryRefused,
    LimitReached,
    PurchaseConflict,
    PurchaseTooExpensive,
    TaskClosed,
    UnknownTask,
)
from ec262.domain.ledger import MINT, SERVICE, Reason
from ec262.domain.ports.unit_of_work import UnitOfWorkFactory
from tests.discovery_town import FOREMAN, build_town, digest, order, registration

WORKERS = 5
GRANT = 12
RIVAL = "rival-" + "r" * 40
FOREMEN = (FOREMAN, RIVAL)
TEXTS = st.sampled_from(["right", "right", "right", "lie"])


class DiscoveryMachine(RuleBasedStateMachine):
    """Drives the use cases over a storage; the model is what was bought, and what each foreman was once told."""

    tasks = Bundle("tasks")

    def storage(self) -> UnitOfWorkFactory:
        return MemoryStore().unit_of_work

    @initialize()
    def found(self) -> None:
        self.unit_of_work = self.storage()
        self.town = build_town(grant=GRANT, unit_of_work=self.unit_of_work, max_open_tasks=6)
        self.town.service.grant_account(RIVAL, GRANT)
        for number in range(WORKERS):
            self.town.add_worker(number, registration(4000 + number, slots=2, ttl_s=86400))
        self.bought: dict[str, tuple[str, BoughtTask]] = {}
        self.commands: dict[str, tuple[str, BuyTasks, Purchase]] = {}
        self.committed: dict[tuple[str, str], str] = {}
        self.given_up: set[tuple[str, str]] = set()
        self.told: dict[str, Verdict] = {}

    # --- what people do ---------------------------------------------------------------------------------------------

    @rule(
        target=tasks,
        foreman=st.sampled_from(FOREMEN),
        count=st.integers(1, 4),
        spec=st.sampled_from(["majority:3", "majority:1", "majority:5:4"]),
        deadline_s=st.sampled_from([1.0, 60.0, 600.0]),
    )
    def buy(self, foreman: str, count: int, spec: str, deadline_s: float) -> Any:
        command = order(f"purchase-{len(self.commands)}", tasks=count, rule=spec, deadline_s=deadline_s)
        before = self.town.credits(foreman)
        try:
            purchase = self.town.service.buy(foreman, command)
        except (PurchaseTooExpensive, LimitReached):
            assert self.town.credits(foreman) == before
            return multiple()
        assert purchase.credits == before - purchase.price == self.town.credits(foreman)
        assert purchase.price == sum(len(task.replicas) for task in purchase.tasks)
        assert (len(purchase.tasks) < count) == bool(purchase.shortfall)
        self.commands[command.purchase] = foreman, command, purchase
        for task in purchase.tasks:
            assert len({replica.worker for replica in task.replicas}) == len(task.replicas)
            self.bought[task.task] = foreman, task
        return multiple(*[task.task for task in purchase.tasks])

    @rule(foreman=st.sampled_from(FOREMEN), data=st.data())
    def buy_again(self, foreman: str, data: st.DataObject) -> None:
        if not self.commands:
            return
        owner, command, purchase = data.draw(st.sampled_from(list(self.commands.values())))
        before = self.town.credits(foreman)
        if foreman == owner:
            again = self.town.service.buy(foreman, command)
            assert (again.price, again.credits, again.shortfall) == (
                purchase.price,
                purchase.credits,
                purchase.shortfall,
            )
            assert [task.replicas for task in again.tasks] == [task.replicas for task in purchase.tasks]
        else:
            with pytest.raises(PurchaseConflict):
                self.town.service.buy(foreman, command)
        assert self.town.credits(foreman) == before

    @rule(task=tasks, position=st.integers(0, 4), text=TEXTS)
    def commit(self, task: str, position: int, text: str) -> None:
        self.commit_as(task, position, text)

    @rule(task=tasks, texts=st.lists(TEXTS, min_size=1, max_size=5))
    def commit_together(self, task: str, texts: list[str]) -> None:
        for position, text in enumerate(texts):
            self.commit_as(task, position, text)

    def commit_as(self, task: str, position: int, text: str) -> None:
        bought = self.bought[task][1]
        worker = bought.replicas[position % len(bought.replicas)].worker
        before = self.committed.get((task, worker))
        try:
            self.town.service.commit(self.town.tokens[worker], CommitResult(task=task, digest=digest(text)))
        except CommitmentConflict:
            assert before not in {None, text}
        except TaskClosed:
            assert before is None
        else:
            assert (task, worker) not in self.given_up
            assert before in {None, text}
            self.committed[task, worker] = text

    @rule(task=tasks, position=st.integers(0, 4))
    def give_up(self, task: str, position: int) -> None:
        bought = self.bought[task][1]
        worker = bought.replicas[position % len(bought.replicas)].worker
        with suppress(TaskClosed):
            self.town.service.give_up(self.town.tokens[worker], task)
            if (task, worker) not in self.committed:
                self.given_up.add((task, worker))

    @rule(task=tasks, number=st.integers(0, WORKERS))
    def pry(self, task: str, number: int) -> None:
        """Strangers to a task are told nothing, whatever its state."""
        account, token = [*self.town.tokens.items(), ("", RIVAL)][number]
        if account in {replica.worker for replica in self.bought[task][1].replicas}:
            return
        with pytest.raises(UnknownTask):
            self.town.service.assignment(token, task)
        with pytest.raises(UnknownTask):
            self.town.service.commit(token, CommitResult(task=task, digest=digest("right")))

    @rule(task=tasks)
    def read_assignments(self, task: str) -> None:
        for replica in self.bought[task][1].replicas:
            try:
                part = self.town.service.assignment(self.town.tokens[replica.worker], task)
            except TaskClosed:
                continue
            assert part.secret == replica.secret
            assert part.deadline_in_s > 0

    @rule(seconds=st.sampled_from([0.5, 1.0, 30.0, 60.0, 600.0, -1.0, -300.0]))
    def pass_time(self, seconds: float) -> None:
        self.town.clock.advance(seconds)

    @rule()
    def sweep(self) -> None:
        self.town.service.sweep()

    @rule(number=st.integers(0, WORKERS - 1), stays=st.booleans())
    def come_and_go(self, number: int, stays: bool) -> None:  # noqa: FBT001 - drawn
        account = self.town.add_worker(number, registration(4000 + number, slots=2, ttl_s=86400))
        if not stays:
            self.town.service.leave(self.town.tokens[account])

    # --- what holds after every step --------------------------------------------------------------------------------

    @invariant()
    def credits_are_conserved_and_nobody_owes(self) -> None:
        with self.unit_of_work() as uow:
            balances = dict(uow.ledger.balances())
            transfers = uow.ledger.transfers()
        assert sum(balances.values()) == 0
        assert balances.pop(MINT) == -2 * GRANT
        assert all(balance > 0 for balance in balances.values())
        replayed: dict[str, int] = defaultdict(int)
        for transfer in transfers:
            replayed[transfer.debit] -= transfer.amount
            replayed[transfer.credit] += transfer.amount
        assert {name: balance for name, balance in replayed.items() if balance and name != MINT} == balances
        assert len({transfer.id for transfer in transfers}) == len(transfers)

    @invariant()
    def each_share_moves_once_and_to_whom_it_is_due(self) -> None:
        with self.unit_of_work() as uow:
            transfers = uow.ledger.transfers()
            stored = {task.id: task for task in uow.tasks.find(list(self.bought))}
        out: dict[str, list[tuple[Reason, str, int]]] = defaultdict(list)
        for transfer in transfers:
            if transfer.task is not None and transfer.reason is not Reason.PURCHASE:
                out[transfer.task].append((transfer.reason, transfer.credit, transfer.amount))
        for name, (_, bought) in self.bought.items():
            task, moves = stored[name], out[name]
            assert sum(amount for _, _, amount in moves) + task.escrow == len(bought.replicas)
            payees = [credit for reason, credit, _ in moves if reason is Reason.WIN]
            winners = {f"user:{r.worker}" for r in task.replicas if task.digest and r.digest == task.digest}
            assert sorted(payees) == sorted(winners)
            others = {reason: credit for reason, credit, _ in moves if reason is not Reason.WIN}
            assert others.keys() <= {Reason.REFUND} if not task.won else others.keys() <= {Reason.UNPAID}
            assert others.get(Reason.UNPAID, SERVICE) == SERVICE
            assert others.get(Reason.REFUND, f"user:{task.foreman}") == f"user:{task.foreman}"
            assert (task.key is None) == (Reason.REFUND in others)
            assert (task.escrow > 0 or bool(winners)) or task.state is TaskState.REFUNDED

    @invariant()
    def a_verdict_once_told_stays(self) -> None:
        for foreman in FOREMEN:
            own = tuple(name for name, (owner, _) in self.bought.items() if owner == foreman)
            verdicts = self.town.service.verdicts(foreman, VerdictQuery(tasks=own)).verdicts
            assert sorted(own) == [verdict.task for verdict in verdicts]
            for verdict in verdicts:
                won = verdict.state in {TaskState.WON, TaskState.SETTLED}
                assert (verdict.key is not None) == (verdict.digest is not None) == bool(verdict.winners) == won
                before = self.told.get(verdict.task)
                if before is not None and before.state is not TaskState.OPEN:
                    assert (before.key, before.digest) == (verdict.key, verdict.digest)
                    assert set(before.winners) <= set(verdict.winners)
                self.told[verdict.task] = verdict

    @invariant()
    def the_right_majority_wins_and_no_other(self) -> None:
        quorum = {1: 1, 3: 2, 5: 4}
        for name, (_, task) in self.bought.items():
            texts = [self.committed.get((name, replica.worker)) for replica in task.replicas]
            needed = quorum[len(task.replicas)]
            enough = next((text for text in ("right", "lie") if texts.count(text) >= needed), None)
            assert self.told[name].digest == (digest(enough) if enough else None)

    @invariant()
    def another_token_is_refused_everywhere(self) -> None:
        with pytest.raises(DiscoveryRefused):
            self.town.service.buy("stranger-" + "s" * 40, order("purchase-x"))


class SqliteMachine(DiscoveryMachine):
    """The same over SQLite, where between any two steps the service may die and come back."""

    def storage(self) -> UnitOfWorkFactory:
        self.folder = Path(tempfile.mkdtemp())
        self.database = SqlDatabase(f"sqlite:///{self.folder / 'discovery.sqlite'}")
        return lambda: self.database.unit_of_work()  # noqa: PLW0108 - a restart makes another database

    @rule()
    def restart(self) -> None:
        self.database.close()
        self.database = SqlDatabase(f"sqlite:///{self.folder / 'discovery.sqlite'}")

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            shutil.rmtree(self.folder)


@pytest.mark.parametrize(
    ("machine", "examples", "steps"), [(DiscoveryMachine, 80, 40), (SqliteMachine, 8, 25)], ids=["memory", "sqlite"]
)
def test_the_rules_hold(machine: type[DiscoveryMachine], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
