"""Accounts that buy each other a good name, or others a bad one: over HTTP, by accounts that anybody can open."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest

from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
from ec262.domain.discovery.reputation import Reputation
from ec262.domain.protocol.foreman_calls import BoughtTask, BuyTasks, PoolQuery, VerdictQuery
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.protocol.worker_calls import Commitment, CommitResults, RegisterWorker
from ec262.domain.verification.task_state import TaskState
from ec262.entrypoints.discovery.discovery_api import discovery_app
from ec262.services.discovery.discovery_policy import Policy
from tests.discovery_town import (
    OTHER_PYTHON,
    PYTHON,
    REQUIREMENT,
    Town,
    build_town,
    digest,
    more_replicas,
    order,
    registration,
    runtime,
)
from tests.live_discovery import served

HONEST, FRIENDS = 24, 8
RULE = "error:1e-4"
STRANGERS = 7
"""So many workers of whom nothing is known have to agree under that rule."""

Say = Callable[[str], str]


@attrs.define
class Account:
    """An account as a client has it."""

    id: str
    client: HttpDiscovery


@attrs.define
class Scene:
    """Honest workers, friends who help each other, and somebody who just wants tasks computed."""

    town: Town
    url: str
    accounts: dict[str, Account] = attrs.Factory(dict)
    honest: list[str] = attrs.Factory(list)
    friends: list[str] = attrs.Factory(list)
    victim: str = ""
    _numbers: Iterable[int] = attrs.Factory(itertools.count)

    async def open(self, name: str) -> str:
        client = HttpDiscovery(self.url, token=f"{name}-" + "t" * 40, patience_s=5)
        status = await client.open_account()
        self.accounts[status.account] = Account(status.account, client)
        return status.account

    async def join(self, name: str, command: RegisterWorker) -> str:
        account = await self.open(name)
        await self.accounts[account].client.register(command)
        return account

    async def buy(self, foreman: str, command: BuyTasks) -> Sequence[BoughtTask]:
        command = attrs.evolve(command, purchase=f"purchase-{next(iter(self._numbers)):06}")
        return (await self.accounts[foreman].client.buy(command)).tasks

    async def commit(self, worker: str, task: str, text: str) -> None:
        command = CommitResults(commitments=(Commitment(task=task, digest=digest(text)),))
        await self.accounts[worker].client.commit(command)

    async def have_computed(self, foreman: str, task: BoughtTask, say: Say) -> bytes | None:
        """Have everybody commit, and more workers added, until the task is decided; return what won."""
        replicas, client = task.replicas, self.accounts[foreman].client
        while replicas:
            for replica in replicas:
                await self.commit(replica.worker, task.task, say(replica.worker))
            (verdict,) = (await client.verdicts(VerdictQuery(tasks=(task.task,)))).verdicts
            if verdict.state is not TaskState.OPEN:
                return verdict.digest
            purchase = f"purchase-{next(iter(self._numbers)):06}"
            added = await client.add_replicas(
                more_replicas(task.task, replicas=max(1, verdict.wanted), purchase=purchase)
            )
            replicas = tuple(replica for each in added.tasks for replica in each.replicas)
        return None

    async def team(self) -> int | None:
        """How many workers the victim would be drawn for a task."""
        query = PoolQuery(requirement=REQUIREMENT, rule=RULE)
        return (await self.accounts[self.victim].client.pool(query)).team

    def everybody_knows(self, worker: str) -> Reputation:
        with self.town.unit_of_work() as uow:
            return next(iter(uow.reputations.find([worker], [])), Reputation(worker=worker, runtime=runtime()))

    def liars(self) -> set[str]:
        with self.town.unit_of_work() as uow:
            return {each.worker for each in uow.reputations.caught_since(0.0, [])}


@asynccontextmanager
async def scene(friend: RegisterWorker, *, separate: bool = True, known: float = 0.0) -> AsyncIterator[Scene]:
    """All live in networks of their own, or in one; honest workers are known to everybody so far."""
    town = build_town(policy=Policy(grant=10_000))
    with served(discovery_app(town.service, town.bell)) as url:
        made = Scene(town, url)
        for number in range(HONEST + FRIENDS):
            host = f"10.{number if separate else 0}.0.{number + 1}"
            command = attrs.evolve(registration() if number < HONEST else friend, host=host)
            worker = await made.join(f"worker-{number:03}", command)
            (made.honest if number < HONEST else made.friends).append(worker)
        if known:
            with town.unit_of_work() as uow:
                at = town.clock()
                uow.reputations.save(
                    [Reputation(worker=each, runtime=runtime(), agreed=known, as_of=at) for each in made.honest]
                )
                uow.commit()
        made.victim = await made.open("victim")
        try:
            yield made
        finally:
            for account in made.accounts.values():
                await account.client.close()


FARMS = {
    "a package that nobody else has": (
        registration(packages=("loop",)),
        order(rule="quorum:2", requirement=Requirement(python=PYTHON, packages=("loop",))),
    ),
    "a Python that nobody else has": (
        registration(python=OTHER_PYTHON),
        order(rule="quorum:2", requirement=Requirement(python=OTHER_PYTHON)),
    ),
    "avoiding everybody else": (registration(), order(rule="quorum:2")),
    "slots while everybody else is busy": (registration(slots=32), order(rule="quorum:2")),
}


@pytest.mark.parametrize("separate", [True, False], ids=["of many networks", "of one network"])
@pytest.mark.parametrize("means", FARMS)
async def test_friends_cannot_make_each_other_known_to_everybody(means: str, separate: bool) -> None:  # noqa: FBT001 - a parameter of the test
    friend, command = FARMS[means]
    async with scene(friend, separate=separate) as at:
        if means == "avoiding everybody else":
            command = attrs.evolve(command, avoid=tuple(at.honest))
        if means == "slots while everybody else is busy":
            for _ in range(2):
                await at.buy(at.friends[0], order(rule="none", tasks=HONEST))
            command = attrs.evolve(command, tasks=30)
        together = 0
        for _ in range(6 if command.tasks == 1 else 1):
            for foreman in at.friends:
                for task in await at.buy(foreman, command):
                    workers = {replica.worker for replica in task.replicas}
                    if workers <= set(at.friends):
                        together += 1
                        await at.have_computed(foreman, task, lambda _: "whatever")
        assert together > 20, "they did keep to themselves"
        assert max(at.everybody_knows(each).agreed for each in at.friends) < 1.0
        at.town.clock.advance(60)
        if friend.runtime.python == PYTHON:
            assert await at.team() == STRANGERS
        # They lie to somebody else.
        won: list[bytes | None] = []
        for number in range(20):
            tasks = await at.buy(at.victim, order(rule=RULE, tasks=20 if number % 5 == 0 else 1))
            won += [
                await at.have_computed(at.victim, task, lambda w: "lie" if w in at.friends else "truth")
                for task in tasks
            ]
            at.town.clock.advance(60)
        assert digest("lie") not in won
        assert won.count(digest("truth")) >= 20
        assert not at.liars() & set(at.honest)


async def test_friends_cannot_give_others_a_bad_name() -> None:
    """They get to know each other in tasks of their own, outvote one honest worker after another there, and even have
    four accounts say so."""
    async with scene(registration(slots=32), known=100.0) as at:
        accomplices = at.friends[:4]
        for foreman in accomplices:
            for _ in range(8):
                for task in await at.buy(foreman, order(rule="quorum:3", avoid=at.honest)):
                    await at.have_computed(foreman, task, lambda _: "whatever")
            for target in at.honest[:6]:
                others = [each for each in at.honest if each != target]
                for task in await at.buy(foreman, order(rule="majority:9", avoid=others)):
                    assert target in {replica.worker for replica in task.replicas}
                    await at.have_computed(foreman, task, lambda w: "lie" if w in at.friends else "truth")
        assert at.liars() == set()
        assert await at.team() == 1, "everybody still believes the honest"
        assert {at.everybody_knows(each).agreed >= 100.0 for each in at.honest} == {True}


async def test_other_work_for_one_worker_gives_it_no_bad_name() -> None:
    """A foreman can have an honest worker dissent among honest ones: by sending it other work than the rest."""
    async with scene(registration(), known=100.0) as at:
        target = at.honest[0]
        framed = 0
        for foreman in at.friends[:4]:
            for _ in range(60):
                (task,) = await at.buy(foreman, order(rule="majority:5"))
                await at.have_computed(foreman, task, lambda w: "other work" if w == target else "work")
                drawn = target in {replica.worker for replica in task.replicas}
                framed += drawn
                if drawn:
                    break
        assert framed == 4, "each of the four had it dissent"
        assert at.liars() == set()
        assert at.everybody_knows(target).agreed >= 100.0
