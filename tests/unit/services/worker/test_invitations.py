"""Foremen and workers show their invitation when they open their account."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs
import pytest

from ec262.adapters.memory.discovery import MemoryDiscovery
from ec262.adapters.memory.entropy import SeededEntropy
from ec262.adapters.memory.surroundings import MemorySurroundings
from ec262.adapters.terminal.progress_bar import Silent
from ec262.domain.discovery.accounts import Invitation
from ec262.domain.errors import DiscoveryRefused, InvitationRefused, NoEligibleWorkers
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.protocol.token import token_digest
from ec262.entrypoints.foreman.bootstrap_foreman import build_foreman
from ec262.entrypoints.foreman.job_reading import JobTerms
from ec262.entrypoints.foreman.job_system import System
from ec262.entrypoints.shared.settings import ForemanSettings, load_settings
from ec262.services.discovery.discovery_policy import Policy
from ec262.services.worker.lease_keeper import LeaseKeeper
from ec262.services.worker.worker_policy import WorkerPolicy
from tests.discovery_town import Town, build_town, registration, runtime
from tests.system import make_job

if TYPE_CHECKING:
    from ec262.entrypoints.embedded.embedded import EmbeddedSystem

CODE = "invitation-" + "i" * 40
TOKEN = "invited-" + "t" * 40


@pytest.fixture
def town() -> Town:
    town = build_town(policy=Policy(grant=0, invitations=True))
    with town.service._unit_of_work() as uow:
        uow.invitations.add(Invitation(id="one", code_digest=token_digest(CODE), credits=8, uses_left=1))
        uow.commit()
    return town


@pytest.fixture
def job() -> Job:
    return make_job({1: "one word"})


async def plan(town: Town, job: Job, invitation: str | None) -> None:
    """Have a foreman plan a job, which comes as far as looking for workers."""
    settings = ForemanSettings(discovery="http://127.0.0.1:1", invitation=invitation, patience=0.01)
    await build_foreman(settings, discovery=MemoryDiscovery(town.service, token=TOKEN)).plan(job)


async def test_a_foreman_shows_its_invitation(town: Town, job: Job) -> None:
    for _ in range(2):
        with pytest.raises(NoEligibleWorkers):
            await plan(town, job, CODE)
    assert town.credits(TOKEN) == 8


async def test_a_foreman_without_one_has_nothing(town: Town, job: Job) -> None:
    with pytest.raises(NoEligibleWorkers):
        await plan(town, job, None)
    assert town.credits(TOKEN) == 0


async def test_an_invalid_invitation_is_reported(town: Town, job: Job) -> None:
    with pytest.raises(InvitationRefused):
        await plan(town, job, "made-up-" + "m" * 40)


async def join(town: Town, invitation: str | None) -> None:
    """Have a worker join the pool."""
    stop = asyncio.Event()
    keeper = LeaseKeeper(
        MemoryDiscovery(town.service, token=TOKEN),
        MemorySurroundings(),
        SeededEntropy(),
        registration(),
        WorkerPolicy(release="test", runtime=runtime(), invitation=invitation),
    )
    async with asyncio.timeout(5):
        await keeper.keep(stop, on_joined=lambda _lease: stop.set())


async def test_a_worker_shows_its_invitation(town: Town) -> None:
    await join(town, CODE)
    assert town.credits(TOKEN) == 8


async def test_a_worker_with_an_invalid_invitation_does_not_join(town: Town) -> None:
    with pytest.raises(DiscoveryRefused, match="this invitation does not exist"):
        await join(town, "made-up-" + "m" * 40)


async def test_the_embedded_system_is_shown_none(town: Town, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    class Embedded:
        def address(self) -> tuple[str, str]:
            return "http://127.0.0.1:1", TOKEN

        def watched(self) -> nullcontext[None]:
            return nullcontext()

    seen: list[ForemanSettings] = []

    def build(settings: ForemanSettings, *, token: str) -> MemoryDiscovery:
        seen.append(settings)
        assert token == TOKEN
        return MemoryDiscovery(town.service, token=token)

    monkeypatch.setattr("ec262.entrypoints.foreman.job_system.build_foreman_discovery", build)
    terms = JobTerms(settings=ForemanSettings(invitation=CODE, discovery_ca="/nowhere.pem"))
    system = System(job=job, terms=terms, embedded=cast("EmbeddedSystem", Embedded()))
    async with system.foreman(Silent()) as foreman:
        assert foreman.local
    assert [(each.discovery, each.invitation, each.discovery_ca) for each in seen] == [
        ("http://127.0.0.1:1", None, None)
    ]


def test_it_comes_from_the_environment_and_is_not_shown(tmp_path: Path) -> None:
    settings = load_settings(ForemanSettings, {}, {"EC262_INVITATION": CODE, "EC262_CREDENTIALS": str(tmp_path)})
    assert settings.invitation == CODE
    assert CODE not in repr(settings)
    foreman = build_foreman(attrs.evolve(settings, discovery="http://127.0.0.1:1"))
    assert CODE not in repr(foreman._policy)
    assert CODE not in repr(WorkerPolicy(release="test", runtime=runtime(), invitation=CODE))
