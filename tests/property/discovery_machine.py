"""The ground on which everybody meets a discovery service: how calls are made, die, are repeated and are judged.

Every call is made of the service and of the model, and both must answer alike. Units of work die at their commits,
before or after; the caller repeats the call then, and must not be able to tell. Whatever a reply holds is known to the
caller from then on, and must be theirs to know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ec262.adapters.memory.entropy import SeededEntropy
from ec262.domain.discovery.tasks import Task
from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory
from ec262.domain.errors import DiscoveryRefused
from ec262.domain.protocol.foreman_calls import AddReplicas, BuyTasks, Verdict
from ec262.services.discovery.administration import DiscoveryAdmin
from ec262.services.discovery.discovery_policy import Policy
from tests.discovery_faults import Died, Faults
from tests.discovery_town import FOREMAN, OTHER_PYTHON, PYTHON, build_town, registration, worker_token
from tests.property.discovery_model import Model
from tests.property.discovery_records import Job, Lease

WORKERS = 6
MISFIT = worker_token(WORKERS - 1)
"""A worker with another Python."""

GRANT = 40
RIVAL = "rival-" + "r" * 40
UNKNOWN = "0" * 32
LEASES_S = (60.0, 1000.0, 80_000.0)
"""By the number of slots, less one."""
MOST_PEOPLE = 14
POLICY = Policy(grant=2, max_open_tasks=7, max_escrow=15, retention_s=90)
TEXTS = ("right", "lie", "junk")

T = TypeVar("T")
Crash = tuple[int, bool]
NO_CRASH = (0, False)

crashes = st.sampled_from([NO_CRASH] * 4 + [(1, False), (1, True), (1, True), (2, True)])
"""At which commit a call dies, counted from 1, and whether after it."""

indices = st.integers(0, 40)
batches = st.lists(indices, max_size=4)


def digest_of(task: str, text: str) -> bytes:
    """What a worker commits whose result is this text."""
    return hashlib.sha256(f"{task} {text}".encode()).digest()


@attrs.frozen
class Secret:
    """Bytes of a task that are not for everybody; ``may_know`` says for which accounts they are."""

    task: str
    may_know: Callable[[str, Job], bool]
    printable: bool = False


class DiscoveryGround(RuleBasedStateMachine):
    """Who is there, how they ask, and what they may be told."""

    def storage(self) -> UnitOfWorkFactory:
        """Make a storage; it is asked for anew for every unit of work."""
        raise AssertionError("a storage has to be chosen")

    def restart(self) -> None:
        """Bring the storage back after a death."""

    @initialize()
    def found(self) -> None:
        self.faults, self.model = Faults(), Model(POLICY)
        self.stored = self.storage()
        self.faults.on_death = self.restart
        self.town = build_town(grant=GRANT, unit_of_work=self.faults.around(self.unit_of_work), policy=POLICY)
        self.service = self.town.service
        self.admin = DiscoveryAdmin(
            unit_of_work=self.unit_of_work,
            snapshot=self.unit_of_work,
            clock=self.town.clock,
            entropy=SeededEntropy(2012),
        )
        self.people = [FOREMAN, RIVAL, *map(worker_token, range(WORKERS))]
        """Every token that was ever made."""
        self.tasks: list[str] = [UNKNOWN]
        """Every task that was ever bought, the latest first."""
        self.commands: list[tuple[str, BuyTasks | AddReplicas]] = []
        """Everything that was ever ordered, and by whom."""
        self.secrets: dict[bytes, Secret] = {}
        self.told: dict[str, Verdict] = {}
        """What the foreman was told last of each task whose key it has."""
        self.service.accounts.open_with_grant(RIVAL, GRANT)
        for token in self.people:
            account = self.service.accounts.open(token).account
            grant = GRANT if token in {FOREMAN, RIVAL} else POLICY.grant
            self.model.open(token, None, account, grant=grant)
            if token != FOREMAN:
                self.enter_pool(token, len(LEASES_S), NO_CRASH)

    def unit_of_work(self) -> Any:
        return self.stored()

    @property
    def now(self) -> float:
        return self.town.clock()

    def token(self, index: int) -> str:
        return self.people[index % len(self.people)]

    def latest_token(self, index: int) -> str:
        """Another order of the same: those who were there first are the foremen, without whom little happens."""
        return self.people[-1 - index % len(self.people)]

    def task(self, index: int) -> str:
        return self.tasks[index % len(self.tasks)]

    def job(self, index: int) -> Job | None:
        return self.model.jobs.get(self.task(index))

    def likely(self, names: list[int], promising: Callable[[Job], bool]) -> list[int]:
        """The same indices, but the first is likely that of a promising task."""
        found = [name for name, task in enumerate(self.tasks) if self.promises(task, promising)]
        return [found[names[0] % len(found)], *names[1:]] if names and found else names

    def promises(self, task: str, promising: Callable[[Job], bool]) -> bool:
        return task in self.model.jobs and promising(self.model.jobs[task])

    def token_of(self, account: str) -> str | None:
        return next((token for token, holder in self.model.holders.items() if holder.account == account), None)

    def owner_of(self, index: int) -> str | None:
        job = self.job(index)
        return None if job is None else self.token_of(job.foreman)

    def newcomer(self, name: str) -> str:
        """Make a token, unless there are many already."""
        if len(self.people) < MOST_PEOPLE:
            self.people.append(f"{name}-{len(self.people)}-".ljust(40, "n"))
        return self.people[-1]

    # --- how calls are made -----------------------------------------------------------------------------------------

    def ask(self, call: Callable[[], T], crash: Crash) -> T | DiscoveryRefused:
        """Make a call, again if it dies, and return what came of it."""
        self.decided_before = self.decided()
        self.town.decided.clear()
        self.faults.arm(commit=crash[0], after=crash[1])
        try:
            outcome: T | DiscoveryRefused = call()
        except DiscoveryRefused as refusal:
            outcome = refusal
        except Died:
            return self.ask(call, NO_CRASH)
        finally:
            self.faults.arm(commit=0, after=False)
        self.model.apply_deadlines(self.now)
        return outcome

    def expect(self, question: Callable[[], T]) -> T | DiscoveryRefused:
        """What the model answers."""
        try:
            return question()
        except DiscoveryRefused as refusal:
            return refusal

    def compare(self, token: str, call: Callable[[], T], question: Callable[[], Any], crash: Crash) -> T | None:
        """Ask service and model. Return the reply, with the model's as ``expected``; None if both refuse."""
        reply = self.ask(call, crash)
        self.expected: Any = self.expect(question)
        if crash == NO_CRASH:
            told = set(self.town.decided)
            assert self.decided() - self.decided_before <= told <= self.decided()
        if isinstance(reply, DiscoveryRefused):
            assert type(reply) is type(self.expected), (reply, self.expected)
            return None
        assert not isinstance(self.expected, DiscoveryRefused), (reply, self.expected)
        self.overhear(token, reply)
        return reply

    def decided(self) -> set[str]:
        return {name for name, job in self.model.jobs.items() if job.decided}

    # --- what is told -----------------------------------------------------------------------------------------------

    def overhear(self, token: str, reply: object) -> None:
        """Whatever is said is known to whom it is said."""
        for value in bytes_in(reply):
            secret = self.secrets[value]
            assert secret.may_know(self.model.looking(token).account, self.model.jobs[secret.task])
            assert secret.printable or repr(value)[2:-1] not in repr(reply)

    def remember_secrets(self, tasks: Iterable[str]) -> None:
        """Look into the storage for what is to be kept secret of tasks."""
        with self.unit_of_work() as uow:
            for task in uow.tasks.find(list(tasks)):
                self.secrets |= dict(_secrets_of(self.model, task))

    # --- workers come, time goes ------------------------------------------------------------------------------------

    def enter_pool(self, token: str, slots: int, crash: Crash) -> None:
        python = OTHER_PYTHON if token == MISFIT else PYTHON
        ttl_s = LEASES_S[slots - 1]
        command = registration(4000 + self.people.index(token), slots=slots, ttl_s=ttl_s, python=python)
        lease = self.compare(
            token,
            lambda: self.service.workers.register(token, command, source="127.0.0.1"),
            lambda: self.model.active(token),
            crash,
        )
        if lease is not None:
            self.model.pool[lease.worker] = Lease(slots, self.now + ttl_s, fits=python is PYTHON)

    @rule(index=indices, slots=st.integers(0, len(LEASES_S)), crash=crashes)
    def come_and_go(self, index: int, slots: int, crash: Crash) -> None:
        token = self.token(index)
        if slots:
            self.enter_pool(token, slots, crash)
        else:
            self.compare(token, lambda: self.service.workers.leave(token), lambda: self.model.leave(token), crash)

    @rule(
        seconds=st.sampled_from([0.0, 1.0, 29.0, 30.0, 60.0, 600.0, 600.0, 700.0, -1.0, -300.0]),
        sweeps=st.booleans(),
        crash=crashes,
    )
    def pass_time(self, seconds: float, sweeps: bool, crash: Crash) -> None:  # noqa: FBT001 - drawn
        self.town.clock.advance(seconds)
        if sweeps:
            self.ask(self.service.sweep, crash)
            self.model.sweep(self.now)


def bytes_in(value: object) -> Iterator[bytes]:
    """Find all bytes within a reply."""
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from bytes_in(item)
    elif attrs.has(kind := type(value)):
        for field in attrs.fields(kind):
            yield from bytes_in(getattr(value, field.name))


def _secrets_of(model: Model, task: Task) -> Iterator[tuple[bytes, Secret]]:
    if task.key is not None:
        yield task.key, Secret(task.id, model.may_know_key)
    for text in TEXTS:
        yield digest_of(task.id, text), Secret(task.id, partial(model.may_know_digest, text=text), printable=True)
    for replica in task.replicas:
        for value, may_know in (
            (replica.secret, model.may_know_secret),
            (replica.delivery_secret, model.may_know_delivery_secret),
            (replica.delivery_digest, model.may_know_delivery_digest),
        ):
            yield value, Secret(task.id, partial(may_know, worker=replica.worker))
