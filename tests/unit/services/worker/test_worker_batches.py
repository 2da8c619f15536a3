from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from ec262.domain.errors import CommitmentConflict, DiscoveryRefused, DiscoveryUnavailable, UnknownTask
from ec262.domain.protocol.worker_calls import AssignmentQuery, Assignments, Commitment, GivenUp, GiveUp
from ec262.services.worker.worker_batches import NO_ANSWER, WorkerBatches
from tests.unit.services.worker.worker_doubles import ScriptedDiscovery

ONE, TWO, OTHER = "task-0001", "task-0002", "task-0003"


async def results(*asking: Coroutine[Any, Any, object]) -> list[object]:
    return await asyncio.gather(*asking, return_exceptions=True)


async def test_assignments_are_asked_for_together_and_each_gets_its_own_answer() -> None:
    discovery = ScriptedDiscovery()
    discovery.assign(ONE)
    discovery.assign(TWO)
    batches = WorkerBatches(discovery)
    one, two, other, again = await results(*map(batches.assignment, (ONE, TWO, OTHER, ONE)))
    assert (one, two, again) == (discovery.assigned[ONE], discovery.assigned[TWO], discovery.assigned[ONE])
    assert isinstance(other, UnknownTask)
    assert discovery.calls == ["assignment"]


async def test_commitments_go_together_and_one_that_is_refused_stops_no_other() -> None:
    discovery = ScriptedDiscovery()
    discovery.commitments[ONE] = bytes(32)
    batches = WorkerBatches(discovery)
    changed, new = await results(*(batches.commit(Commitment(task=task, digest=b"d" * 32)) for task in (ONE, TWO)))
    assert isinstance(changed, CommitmentConflict)
    assert new is None
    assert discovery.commitments == {ONE: bytes(32), TWO: b"d" * 32}
    assert discovery.calls == ["commit"]


async def test_tasks_are_given_up_together() -> None:
    discovery = ScriptedDiscovery()
    batches = WorkerBatches(discovery)
    assert await results(batches.give_up(ONE), batches.give_up(TWO)) == [None, None]
    assert discovery.given_up == [ONE, TWO]


async def test_an_absence_of_discovery_is_everybodys() -> None:
    discovery = ScriptedDiscovery()
    discovery.troubles["give_up"] = [DiscoveryUnavailable("away")]
    batches = WorkerBatches(discovery)
    errors = await results(batches.give_up(ONE), batches.give_up(TWO))
    assert [type(error) for error in errors] == [DiscoveryUnavailable, DiscoveryUnavailable]


async def test_a_reply_that_leaves_a_task_out_is_a_refusal() -> None:
    class Forgetful(ScriptedDiscovery):
        async def assignments(self, query: AssignmentQuery) -> Assignments:
            return Assignments(assignments=(), refused=())

        async def give_up(self, command: GiveUp) -> GivenUp:
            return GivenUp(tasks=(), refused=())

    batches = WorkerBatches(Forgetful())
    for asking in (batches.assignment(ONE), batches.give_up(ONE)):
        with pytest.raises(DiscoveryRefused, match=NO_ANSWER):
            await asking
