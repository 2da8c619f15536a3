"""What makes small jobs quick: tasks that wait at the worker, and plans for the processors that there are."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from ec262.adapters.jobs.local_runtime import runtime_class
from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.protocol.limits import MAX_SLOTS
from ec262.services.worker.worker_policy import WorkerPolicy
from tests.system import FOREMAN_POLICY, make_job, memory_system

POLICY = WorkerPolicy(release="test", runtime=runtime_class("unconfined"))


@pytest.mark.parametrize(("slots", "ahead", "capacity"), [(1, 0, 1), (3, 0, 3), (2, 7, 16), (MAX_SLOTS, 1, MAX_SLOTS)])
def test_a_worker_is_assigned_what_it_computes_and_what_waits(slots: int, ahead: int, capacity: int) -> None:
    assert attrs.evolve(POLICY, slots=slots, ahead=ahead).capacity == capacity


@pytest.mark.parametrize(("slots", "map_tasks", "reduce_tasks"), [(None, 12, 4), (2, 3, 1), (100, 12, 4)])
async def test_a_job_is_planned_for_no_more_slots_than_the_policy_says(
    slots: int | None, map_tasks: int, reduce_tasks: int
) -> None:
    async with memory_system(workers=4, slots=3) as system:
        foreman = system.foreman(attrs.evolve(FOREMAN_POLICY, slots=slots))
        plan = await foreman.plan(make_job(dict.fromkeys(range(100), "a")))
    assert (plan.map_tasks, plan.reduce_tasks) == (map_tasks, reduce_tasks)


@pytest.mark.parametrize(("lasting", "synchronous"), [(True, 2), (False, 0)])
def test_only_a_database_that_is_to_last_waits_for_the_disk(tmp_path: Path, *, lasting: bool, synchronous: int) -> None:
    database = SqlDatabase(f"sqlite:///{tmp_path / 'database'}", lasting=lasting)
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
    database.close()
