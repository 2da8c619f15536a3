"""Whatever liars, sleepers, foremen and the clock do under ``error:P``, and whenever the service dies: who is believed,
who is paid and what is opened again is as trust.md has it, after every step."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.discovery import reputation
from ec262.domain.discovery.ledger import MINT
from ec262.domain.discovery.pool.pool import Pool
from ec262.domain.discovery.reputation import ALARM_S, EVERYBODY, HALF_LIFE_S, Reputation
from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory
from ec262.domain.protocol.foreman_calls import AcceptResults, BuyDisputes, BuyTasks, Purchase, VerdictQuery
from ec262.domain.protocol.worker_calls import AssignmentQuery, Commitment, CommitResults, GiveUp, RegisterWorker
from ec262.domain.verification.credibility import alone_suffices
from ec262.domain.verification.rules import MAX_REPLICAS, parse_rule
from ec262.domain.verification.task_state import TaskState
from ec262.services.discovery.discovery_policy import Policy
from ec262.services.discovery.reputations import company
from tests.discovery_faults import Died, Faults
from tests.discovery_town import FOREMAN, build_town, more_replicas, order, registration, runtime
from tests.property.reputations_model import Agreement, Job, Model, Part

WORKERS = 7
FOREMEN = ["boss-one-" + "b" * 40, "boss-two-" + "b" * 40]
GRANT = 100_000
POLICY = Policy(grant=0, audit_rate=0.4, retention_s=1e9)
RULES = ["error:0.1", "error:0.1", "error:1e-2", "majority:3", "quorum:2", "none"]
TICK_S = 0.01
"""No two calls come at the same instant."""

T = TypeVar("T")
Crash = tuple[int, bool]
crashes = st.sampled_from([(0, False)] * 4 + [(1, False), (1, True)])
indices = st.integers(0, 40)
texts = st.sampled_from(["truth", "truth", "truth", "lie"])


def home(number: int) -> RegisterWorker:
    """Each lives in a network of its own."""
    return registration(4000 + number, host=f"10.{number}.0.1", slots=8, ttl_s=80_000.0)


def digest_of(task: str, text: str) -> bytes:
    return hashlib.sha256(f"{task} {text}".encode()).digest()


class ReputationsMachine(RuleBasedStateMachine):
    """Two foremen and seven workers, some of whom are known from the beginning."""

    def storage(self) -> UnitOfWorkFactory:
        return MemoryStore().unit_of_work

    @initialize(known=st.lists(st.sampled_from([0.0, 9.0, 25.0, 60.0]), min_size=WORKERS, max_size=WORKERS))
    def found(self, known: list[float]) -> None:
        self.faults, self.model, self.stored = Faults(), Model(), self.storage()
        self.town = build_town(grant=1, unit_of_work=self.faults.around(self.stored), policy=POLICY)
        self.service = self.town.service
        self.tasks: list[str] = []
        self.orders = 0
        self.accounts = {token: self.service.accounts.open_with_grant(token, GRANT).account for token in FOREMEN}
        workers = [self.town.add_worker(number, home(number)) for number in range(WORKERS)]
        self.come_back()
        with self.stored() as uow:
            for worker, agreed in zip(workers, known, strict=True):
                if agreed:
                    at = self.now
                    uow.reputations.save([Reputation(worker=worker, runtime=runtime(), agreed=agreed, as_of=at)])
                    self.model.memory(worker).agreements.append(Agreement(at, EVERYBODY, public=agreed))
            uow.commit()
        for account in self.accounts.values():
            self.model.move(MINT, f"user:{account}", GRANT)
        self.model.move(MINT, f"user:{self.service.accounts.status(FOREMAN).account}", 1)

    def come_back(self) -> None:
        for number in range(WORKERS):
            self.town.add_worker(number, home(number))

    @property
    def now(self) -> float:
        return self.town.clock()

    def call(self, ask: Callable[[], T], crash: Crash) -> T:
        """Make a call, again if it dies."""
        self.town.clock.advance(TICK_S)
        self.model.apply_deadlines(self.now)
        self.faults.arm(commit=crash[0], after=crash[1])
        try:
            return ask()
        except Died:
            return ask()
        finally:
            self.faults.arm(commit=0, after=False)

    def job(self, index: int, *states: TaskState) -> Job | None:
        """A task, the latest first, in one of these states if there is one."""
        fitting = [name for name in self.tasks if not states or self.model.jobs[name].state in states]
        return self.model.jobs[fitting[index % len(fitting)]] if fitting else None

    # --- foremen ----------------------------------------------------------------------------------------------------

    @rule(index=indices, named=st.booleans())
    def the_operator_names_an_anchor_or_none(self, index: int, named: bool) -> None:  # noqa: FBT001 - drawn
        worker = list(self.town.tokens)[index % 2]
        with self.stored() as uow:
            (uow.anchors.add if named else uow.anchors.remove)(worker)
            uow.commit()
        (self.model.anchors.add if named else self.model.anchors.discard)(worker)

    @rule(boss=st.sampled_from(FOREMEN), spec=st.sampled_from(RULES), count=st.integers(1, 4), crash=crashes)
    def buy(self, boss: str, spec: str, count: int, crash: Crash) -> None:
        self.place(boss, order(f"purchase-{self.orders}", tasks=count, rule=spec, deadline_s=600.0), crash)

    def place(self, boss: str, command: BuyTasks, crash: Crash) -> list[Job]:
        self.orders += 1
        reply = self.call(lambda: self.service.foremen.buy(boss, command), crash)
        with self.stored() as uow:
            found = {task.id: task for task in uow.tasks.find([task.task for task in reply.tasks])}
        jobs = []
        for bought in reply.tasks:
            parts = self.parts(reply, bought.task)
            lots = found[bought.task].audited, found[bought.task].steered
            job = Job(bought.task, self.accounts[boss], command.rule, *lots, self.now + 600.0, parts)
            self.check_team(job)
            self.model.bought(job)
            self.tasks.insert(0, job.name)
            jobs.append(job)
        return jobs

    def parts(self, reply: Purchase, task: str) -> list[Part]:
        (bought,) = (each for each in reply.tasks if each.task == task)
        return [Part(replica.worker, self.now) for replica in bought.replicas]

    def check_team(self, job: Job) -> None:
        """Who computes alone is known; nobody is in a team twice, and others are not audited."""
        spec = parse_rule(job.rule)
        assert len({part.worker for part in job.parts}) == len(job.parts)
        trusts = [self.model.trust(part.worker, job.foreman, self.now) for part in job.parts]
        if not spec.weighs_trust:
            assert len(trusts) == spec.team()
        elif len(trusts) == 1:
            assert alone_suffices(trusts[0])
            assert spec.team(trusts[0]) == 1
        assert not job.audited or (spec.weighs_trust and len(trusts) == 1)

    @rule(index=indices, replicas=st.integers(1, 2), boss=st.integers(0, 4), crash=crashes)
    def add_to_any(self, index: int, replicas: int, boss: int, crash: Crash) -> None:
        job = self.job(index, TaskState.OPEN, TaskState.PROVISIONAL) or self.job(index)
        if job is not None:
            self.add(job, replicas, boss, crash)

    def add(self, job: Job, replicas: int, boss: int, crash: Crash) -> None:
        owner = next(token for token, account in self.accounts.items() if account == job.foreman)
        token = owner if boss else next(token for token in FOREMEN if token != owner)
        self.orders += 1
        command = more_replicas(job.name, purchase=f"purchase-more-{self.orders}", replicas=replicas, deadline_s=600.0)
        reply = self.call(lambda: self.service.foremen.add_replicas(token, command), crash)
        if reply.tasks:
            assert token == owner
            assert job.state in {TaskState.OPEN, TaskState.PROVISIONAL}
            parts = self.parts(reply, job.name)
            assert not {part.worker for part in parts} & {part.worker for part in job.parts}
            self.model.added(job, parts, self.now + 600.0)
            with self.stored() as uow:
                (found,) = uow.tasks.find([job.name])
            assert found.steered or not job.steered
            job.steered = found.steered

    @rule(boss=st.sampled_from(FOREMEN), everything=st.booleans(), index=indices, crash=crashes)
    def accept(self, boss: str, everything: bool, index: int, crash: Crash) -> None:  # noqa: FBT001 - drawn
        names = self.tasks if everything else [job.name for job in [self.job(index, TaskState.PROVISIONAL)] if job]
        if names:
            command = AcceptResults(tasks=tuple(names))
            reply = self.call(lambda: self.service.foremen.accept(boss, command), crash)
            self.model.accept(self.accounts[boss], names, self.now)
            mine = [name for name in names if self.model.jobs[name].foreman == self.accounts[boss]]
            assert {verdict.task: verdict.state for verdict in reply.verdicts} == {
                name: self.model.jobs[name].state for name in mine
            }

    @rule(index=indices, crash=crashes)
    def dispute(self, index: int, crash: Crash) -> None:
        lost = [n for n in self.tasks if (j := self.model.jobs[n]).state is TaskState.OPEN and not j.outstanding]
        if lost:
            name = lost[index % len(lost)]
            token = next(token for token, account in self.accounts.items() if account == self.model.jobs[name].foreman)
            self.call(lambda: self.service.foremen.dispute(token, BuyDisputes(tasks=(name,))), crash)
            self.model.dispute(self.accounts[token], name)

    # --- workers ----------------------------------------------------------------------------------------------------

    def commit(self, worker: str, items: list[tuple[str, str]], crash: Crash) -> None:
        commitments = tuple(Commitment(task=task, digest=digest_of(task, text)) for task, text in items)
        token = self.town.tokens[worker]
        reply = self.call(lambda: self.service.workers.commit(token, CommitResults(commitments=commitments)), crash)
        assert list(reply.tasks) == self.model.commit(worker, items, self.now)

    @rule(index=indices, text=texts, crash=crashes)
    def a_worker_commits_all_that_it_has(self, index: int, text: str, crash: Crash) -> None:
        worker = list(self.town.tokens)[index % WORKERS]
        items = [(name, text) for name in self.tasks if (part := self.model.jobs[name].part(worker)) and not part.text]
        if items:
            self.commit(worker, items, crash)

    @rule(index=indices, said=st.lists(texts, min_size=1, max_size=5), crash=crashes)
    def a_team_commits(self, index: int, said: list[str], crash: Crash) -> None:
        job = self.job(index, TaskState.OPEN, TaskState.PROVISIONAL)
        waiting = [part for part in job.parts if part.outstanding] if job is not None else []
        for part, text in zip(waiting, said, strict=False):
            assert job is not None
            self.commit(part.worker, [(job.name, text)], crash)

    @rule(index=indices, first=texts, crash=crashes)
    def others_are_asked_until_it_is_won(self, index: int, first: str, crash: Crash) -> None:
        job = self.job(index, TaskState.OPEN)
        for replicas in (1, 2, 2):
            if job is None or job.state is not TaskState.OPEN:
                return
            for number, part in enumerate([part for part in job.parts if part.outstanding]):
                self.commit(part.worker, [(job.name, "truth" if job.ballots or number else first)], crash)
            self.add(job, replicas, 1, crash)

    @rule(boss=st.sampled_from(FOREMEN), count=st.integers(1, 10), crash=crashes)
    def everybody_is_honest_for_a_while(self, boss: str, count: int, crash: Crash) -> None:
        for job in self.place(boss, order(f"purchase-{self.orders}", tasks=count, rule="majority:3"), crash):
            for part in list(job.parts):
                self.commit(part.worker, [(job.name, "truth")], (0, False))

    @rule(index=indices, crash=crashes)
    def give_up(self, index: int, crash: Crash) -> None:
        job = self.job(index, TaskState.OPEN)
        part = next((part for part in job.parts if part.outstanding), None) if job is not None else None
        if job is not None and part is not None:
            token = self.town.tokens[part.worker]
            self.call(lambda: self.service.workers.give_up(token, GiveUp(tasks=(job.name,))), crash)
            self.model.give_up(part.worker, job.name)

    @rule(index=indices, crash=crashes)
    def a_worker_asks_for_its_part(self, index: int, crash: Crash) -> None:
        job = self.job(index, TaskState.OPEN)
        part = next((part for part in job.parts if not part.fetched), None) if job is not None else None
        if job is not None and part is not None:
            token = self.town.tokens[part.worker]
            self.call(lambda: self.service.workers.assignments(token, AssignmentQuery(tasks=(job.name,))), crash)
            part.fetched = True

    @rule(seconds=st.sampled_from([1.0, 300.0, 601.0, 601.0, HALF_LIFE_S / 2, ALARM_S + 1]), crash=crashes)
    def pass_time(self, seconds: float, crash: Crash) -> None:
        self.town.clock.advance(seconds)
        self.call(self.service.sweep, crash)
        self.come_back()

    # --- what must always hold --------------------------------------------------------------------------------------

    @invariant()
    def the_books_balance_and_are_the_models(self) -> None:
        with self.stored() as uow:
            balances = dict(uow.ledger.balances())
        assert sum(balances.values()) == 0
        assert balances == {account: balance for account, balance in self.model.balances.items() if balance}

    @invariant()
    def tasks_and_pay_are_the_models(self) -> None:
        with self.stored() as uow:
            found = {task.id: task for task in uow.tasks.find(self.tasks)}
        assert found.keys() == self.model.jobs.keys()
        for name, task in found.items():
            job = self.model.jobs[name]
            assert (task.state, task.escrow) == (job.state, job.escrow)
            assert task.deadline == pytest.approx(job.deadline)
            assert task.digest == (digest_of(name, job.winner) if job.winner is not None else None)
            assert (task.audited, task.released) == (job.audited, job.released)
            paid = {replica.worker for replica in task.replicas if replica.paid}
            assert paid == {part.worker for part in job.parts if part.paid}
            if task.state is TaskState.DISPUTED:
                continue
            assert all(replica.digest == task.digest for replica in task.replicas if replica.paid), "paid for a loss"
            assert not paid or task.state in {TaskState.WON, TaskState.SETTLED}, "paid before it was won for good"
            # Nobody is paid out of a task whose credits came back.
            assert (task.key is None) == (task.state in {TaskState.REFUNDED, TaskState.LAPSED})

    @invariant()
    def keys_are_told_when_the_pay_is_fixed(self) -> None:
        for token, account in self.accounts.items():
            verdicts = self.service.foremen.verdicts(token, VerdictQuery(tasks=tuple(self.tasks[:1000]))).verdicts
            self.model.apply_deadlines(self.now)
            for verdict in verdicts:
                job = self.model.jobs[verdict.task]
                assert job.foreman == account
                open_to_it = {TaskState.PROVISIONAL, TaskState.WON, TaskState.SETTLED, TaskState.DISPUTED}
                assert (verdict.key is not None) == (job.state in open_to_it)
                if job.state is TaskState.OPEN:
                    found = self.model.finding(job)
                    room = MAX_REPLICAS - len(job.parts)
                    assert verdict.wanted == min(found.wanted, room)
                    assert verdict.confidence == pytest.approx(found.confidence)

    @invariant()
    def reputations_are_what_settled_tasks_have_shown(self) -> None:
        with self.stored() as uow:
            known = {each.worker: each for each in uow.reputations.find(list(self.town.tokens), [])}
            pool, weighing = Pool(members=tuple(uow.pool.alive(self.now)), busy={}), parse_rule("error:0.1")
            trusts = {
                account: company(uow, pool, weighing, foreman=account, now=self.now).trusts
                for account in self.accounts.values()
            }
        for worker in self.town.tokens:
            memory = self.model.memory(worker)
            general = known.get(worker, Reputation(worker=worker, runtime=runtime()))
            assert general.agreed * general.worth(self.now) == pytest.approx(memory.general(self.now))
            assert general.caught_at == memory.caught.get(EVERYBODY)
            assert len(general.partners) == len(memory.partners)
            assert [at for _, at in general.accusers] == pytest.approx(sorted(memory.accusers.values()))
            counts = (general.dissented, general.missed, general.audited)
            assert counts == tuple(memory.counts[name] for name in ("dissented", "missed", "audited"))
            for account, trusted in trusts.items():
                expected = self.model.trust(worker, account, self.now)
                assert attrs.astuple(trusted[worker]) == pytest.approx(attrs.astuple(expected))

    def teardown(self) -> None:
        if hasattr(self, "town"):
            assert self.service.audit() == 2 * GRANT + 1


class SqliteMachine(ReputationsMachine):
    """The same over SQLite."""

    def storage(self) -> UnitOfWorkFactory:
        self.folder = Path(tempfile.mkdtemp())
        self.database = SqlDatabase(f"sqlite:///{self.folder / 'discovery.sqlite'}")
        return self.database.unit_of_work

    def teardown(self) -> None:
        if hasattr(self, "database"):
            super().teardown()
            self.database.close()
            shutil.rmtree(self.folder)


@pytest.mark.parametrize(("machine", "examples", "steps"), [(ReputationsMachine, 15, 30), (SqliteMachine, 2, 20)])
def test_belief_and_pay_are_what_the_protocol_says(
    machine: Any, examples: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reputation, "ACCUSERS", len(FOREMEN))
    monkeypatch.setattr(reputation, "WORTH_AN_ACCUSER", 1000.0)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.mark.parametrize("machine", [ReputationsMachine, SqliteMachine])
def test_a_lone_winner_agrees_with_later_confirmations_of_its_win(machine: type[ReputationsMachine]) -> None:
    """What the state machine found: the service told it of the worker that came second alone."""
    never = (0, False)
    town = machine()
    town.found(known=[0.0, 0.0, 0.0, 25.0, 9.0, 60.0, 9.0])
    town.buy(boss=FOREMEN[0], count=1, spec="error:0.1", crash=never)
    town.give_up(index=0, crash=never)
    town.others_are_asked_until_it_is_won(index=0, first="truth", crash=never)
    (job,) = town.model.jobs.values()
    assert job.state is TaskState.PROVISIONAL
    town.accept(boss=FOREMEN[0], everything=False, index=0, crash=never)
    (lone,) = job.supporters
    waiting = next(
        number
        for number, worker in enumerate(town.town.tokens)
        if worker in {part.worker for part in job.parts if part.outstanding}
    )
    town.reputations_are_what_settled_tasks_have_shown()
    before = town.model.trust(lone.worker, job.foreman, town.now).agreed
    town.a_worker_commits_all_that_it_has(index=waiting, text="truth", crash=never)
    town.reputations_are_what_settled_tasks_have_shown()
    assert town.model.trust(lone.worker, job.foreman, town.now).agreed == pytest.approx(before + 1)
    town.teardown()
