"""Messages that arrive after their phase: the result stays right, no honest worker is caught, and no job ends badly.

One worker's connection holds back a message, with all that follows it in that direction, until the reduce phase is
under way, until it is nearly over, or for good. Nobody lies here, so no vote may ever differ.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ec262.adapters.memory.spill import MemorySpill
from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.domain.foreman.run.job_history import TaskHistory
from ec262.domain.protocol.messages import Assign, Committed, Compute, Deliver, Delivered, Message, Ready, Welcome
from ec262.domain.verification.rules import parse_rule
from ec262.domain.work.work import Computed, Limits, Work
from tests import virtual_time
from tests.late_links import MOMENTS, Hold, HoldingDialer, Stage
from tests.system import FOREMAN_POLICY, System, make_job, memory_system

ROWS = {number: f"{number} sat on a wall, {number} had a great fall" for number in range(3)}
COUNTS = Counter(word for line in ROWS.values() for word in line.split())

TO_WORKER: tuple[type[Message], ...] = (Assign, Compute, Deliver)
TO_FOREMAN: tuple[type[Message], ...] = (Welcome, Ready, Committed, Delivered)
KINDS = (*TO_WORKER, *TO_FOREMAN)


class Unhurried(UnconfinedSandbox):
    """Takes long enough for late messages to arrive while others compute."""

    async def run(self, work: Work, limits: Limits) -> Computed:
        await asyncio.sleep(0.02)
        return await super().run(work, limits)


def late_worker(system: System) -> int:
    """The port of one of the workers."""
    return min(system.network._doors)


@asynccontextmanager
async def unhurried_system() -> AsyncIterator[System]:
    async with memory_system(workers=4, sandboxes={number: Unhurried() for number in range(4)}) as system:
        while len(system.network._doors) < 4:  # noqa: ASYNC110 - workers start by themselves
            await asyncio.sleep(0.001)
        yield system


async def run_late(
    holds: Iterable[Hold], *, rule: str = "majority:3", map_tasks: int = 3, reduce_tasks: int = 3
) -> tuple[Mapping[Any, Any], tuple[TaskHistory, ...]]:
    """Run a job; return its result and what became of its tasks, once all workers have said what they had to say."""
    stage = Stage()
    link = attrs.evolve(FOREMAN_POLICY.link, reply_s=0.3, transfer_s=0.3)
    run = attrs.evolve(FOREMAN_POLICY.run, rule=parse_rule(rule))
    policy = attrs.evolve(FOREMAN_POLICY, link=link, run=run, watch_s=0.05)
    job = attrs.evolve(make_job(ROWS), map_tasks=map_tasks, reduce_tasks=reduce_tasks)
    async with unhurried_system() as system:
        dialer = HoldingDialer(system.network.dialer(), late_worker(system), holds, stage)
        foreman = system.foreman(policy, dialer=dialer, progress=stage, spills=MemorySpill)
        async with asyncio.timeout(20):
            result = await foreman.run(job)
        await asyncio.sleep(0.1)
        return result, await foreman.history()


def honest(history: Iterable[TaskHistory]) -> bool:
    """Tell whether every vote on every task is for what won."""
    verdicts = [purchase.verdict for task in history for purchase in task.purchases if purchase.verdict is not None]
    return all(vote.digest == verdict.digest for verdict in verdicts for vote in verdict.votes)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("nth", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_a_message_that_comes_after_its_phase_changes_nothing(kind: type[Message], nth: int, moment: str) -> None:
    result, history = await run_late([Hold(kind, nth, moment)])
    assert result == COUNTS
    assert honest(history)


holds = st.builds(Hold, st.sampled_from(KINDS), st.integers(0, 5), st.sampled_from(MOMENTS))


@given(
    held=st.lists(holds, min_size=1, max_size=4),
    rule=st.sampled_from(["majority:3", "quorum:2", "error:0.1"]),
    map_tasks=st.integers(1, 3),
    reduce_tasks=st.integers(1, 6),
)
@settings(max_examples=20, deadline=None)
def test_no_order_of_messages_does(held: list[Hold], rule: str, map_tasks: int, reduce_tasks: int) -> None:
    result, history = virtual_time.run(run_late(held, rule=rule, map_tasks=map_tasks, reduce_tasks=reduce_tasks))
    assert result == COUNTS
    assert honest(history)
