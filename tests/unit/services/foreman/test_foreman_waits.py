"""Jobs that discovery refuses to sell to for a while: they wait, and say for what and until when."""

from __future__ import annotations

import asyncio

import attrs
import pytest

from ec262.domain.errors import TaskAbandoned
from ec262.domain.ports.progress import JobStatus
from ec262.services.discovery.discovery_policy import Policy
from tests.adversaries import Broken
from tests.system import FOREMAN_POLICY, make_job, memory_system

TEXT = dict.fromkeys(range(12), "a b c")


@attrs.define
class Recorder:
    """A progress that keeps what it was shown."""

    shown: list[JobStatus] = attrs.Factory(list)

    def show(self, status: JobStatus) -> None:
        self.shown.append(status)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("limits", [Policy(grant=0, max_open_tasks=2), Policy(grant=0, max_escrow=4)])
async def test_a_job_goes_on_when_the_account_may_have_more_under_way(limits: Policy) -> None:
    async with memory_system(workers=4, slots=8, policy=limits) as system:
        result = await system.foreman().run(attrs.evolve(make_job(TEXT), map_tasks=6))
    assert result == {"a": 12, "b": 12, "c": 12}


async def test_a_refund_that_a_job_waits_for_is_shown_with_its_time() -> None:
    progress = Recorder()
    crashing = {number: Broken() for number in range(3)}
    run = attrs.evolve(FOREMAN_POLICY.run, attempts=4)
    policy = attrs.evolve(FOREMAN_POLICY, run=run, deadline_s=1)
    now = asyncio.get_running_loop().time
    started = now()
    async with memory_system(workers=3, credits=9, sandboxes=crashing) as system:
        system.progress = progress
        with pytest.raises(TaskAbandoned):
            await system.foreman(policy).run(make_job({1: "a"}))
    waits = [status for status in progress.shown if status.until is not None]
    assert waits
    assert all("the refund of a lost task" in status.note for status in waits)
    assert all(started + 1 < (status.until or 0) < now() + 2 for status in waits)
