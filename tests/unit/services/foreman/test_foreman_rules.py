"""Whole jobs under the rules that add workers or weigh trust, in one process, over in-memory adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.domain.errors import (
    ConfigurationError,
    InsufficientCredits,
    NoEligibleWorkers,
    PurchaseTooExpensive,
    TaskAbandoned,
)
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.protocol.foreman_calls import AcceptResults, AddReplicas, Purchase, Verdict, Verdicts
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.work import Phase, TaskName
from ec262.services.foreman.foreman_policy import ForemanPolicy
from tests.adversaries import Crasher, Liar
from tests.system import FOREMAN, FOREMAN_POLICY, make_job, memory_system, worker_token
from tests.unit.services.foreman.test_foreman import COUNTS, TEXT, Relay


def job() -> Job:
    """Make a job: its rows last for one run."""
    return make_job(TEXT)


def under(rule: Any, **run: Any) -> ForemanPolicy:
    return attrs.evolve(FOREMAN_POLICY, run=attrs.evolve(FOREMAN_POLICY.run, rule=rule, **run), deadline_s=30)


@pytest.mark.parametrize("rule", ["quorum:2", "quorum:3", "error:0.1", "error:0.01"])
async def test_a_job_with_a_liar_and_a_crashing_worker_among_honest_ones(rule: str) -> None:
    sandboxes = {0: Liar("lie"), 1: Crasher()}
    async with memory_system(workers=8, sandboxes=sandboxes, slots=4) as system:
        foreman = system.foreman(under(rule))
        assert await foreman.run(job()) == COUNTS
        history = await foreman.history()
        assert system.service.audit() == 1000
        assert [system.credits_of(worker_token(bad)) for bad in (0, 1)] == [0, 0]
    assert {task.name.phase for task in history} == set(Phase)
    for task in history:
        purchase = task.purchases[-1]
        assert purchase.rule == rule
        assert purchase.verdict is not None
        assert purchase.verdict.state is TaskState.WON
        assert {vote.worker for vote in purchase.verdict.votes} <= {each.worker for each in purchase.replicas}
        assert purchase.verdict.votes


async def test_a_foreman_that_has_run_no_job_has_no_history() -> None:
    async with memory_system() as system:
        assert await system.foreman().history() == ()


async def test_without_a_difference_a_quorum_of_two_costs_two() -> None:
    async with memory_system(workers=4) as system:
        plan = await system.foreman(under("quorum:2")).plan(job())
        assert (plan.replicas, plan.adds_workers) == (2, True)
        assert await system.foreman(under("quorum:2")).run(job()) == COUNTS
        assert 1000 - system.credits_of(FOREMAN) == plan.price


async def test_one_commitment_suffices_if_the_workers_are_your_own() -> None:
    async with memory_system(workers=3) as system:
        plan = await system.foreman(under("none", one_word=True)).plan(job())
        assert plan.replicas == 1
        assert await system.foreman(under("none", one_word=True)).run(job()) == COUNTS
        assert 1000 - system.credits_of(FOREMAN) == plan.price
        with pytest.raises(ConfigurationError, match="only with the embedded system"):
            await system.foreman(under("none")).run(job())


async def test_known_workers_compute_alone_and_their_wins_are_accepted() -> None:
    accepted: list[str] = []

    class Accepting(Relay):
        async def accept(self, command: AcceptResults) -> Verdicts:
            accepted.extend(command.tasks)
            reply: Verdicts = await self._discovery.accept(command)
            return reply

    rows = dict.fromkeys(range(60), "a b c")
    async with memory_system(workers=4, slots=20, credits=100_000) as system:
        foreman = system.foreman(under("error:0.1"), discovery=Accepting(system.foreman_discovery))
        executions = []
        for _ in range(6):
            before = system.credits_of(FOREMAN)
            assert await foreman.run(make_job(rows)) == dict.fromkeys("abc", 60)
            tasks = len(await foreman.history())
            executions.append((before - system.credits_of(FOREMAN)) / tasks)
        assert system.service.audit() == 100_000
    assert accepted
    assert executions[-1] < executions[0]


@pytest.mark.parametrize(
    ("rule", "workers", "advice"),
    [
        (
            "error:1e-05",
            4,
            r"9 needed by error:1e-05 .* 4 available.*: use error:0.01 or majority:3:2 or quorum:2",
        ),
        ("error:1e-05", 1, r"9 needed by error:1e-05 .* 1 available$"),
        ("quorum:5", 4, "5 needed, 4 available"),
    ],
)
async def test_a_pool_that_cannot_reach_the_error_is_reported_with_the_best_it_can(
    rule: str, workers: int, advice: str
) -> None:
    async with memory_system(workers=workers) as system:
        with pytest.raises(NoEligibleWorkers, match=advice):
            await system.foreman(under(rule, patience_s=0.1)).plan(job())


async def test_results_that_differ_everywhere_end_the_job_with_a_hint() -> None:
    sandboxes: Mapping[int, UnconfinedSandbox] = {number: Liar(f"lie {number}") for number in range(3)}
    async with memory_system(workers=3, sandboxes=sandboxes) as system:
        with pytest.raises(TaskAbandoned, match="no other worker to ask"):
            await system.foreman(under("quorum:2", attempts=1, patience_s=0.3)).run(job())


async def test_too_poor_for_the_workers_that_a_rule_wants_ends_the_job() -> None:
    class Expensive(Relay):
        async def add_replicas(self, command: AddReplicas) -> Purchase:
            raise PurchaseTooExpensive(have=0, need=1)

    async with memory_system(workers=3, sandboxes={0: Liar("lie")}) as system:
        foreman = system.foreman(under("quorum:2"), discovery=Expensive(system.foreman_discovery))
        with pytest.raises(InsufficientCredits, match="for additional workers"):
            await foreman.run(job())


async def test_a_rule_of_the_users_own_chooses_by_task() -> None:
    class Careful:
        def rule_for(self, name: TaskName, purchases: int) -> str:
            return "majority:3" if name.phase is Phase.REDUCE else "quorum:2"

        def replicas_to_add(self, name: TaskName, verdict: Verdict) -> int:
            return verdict.wanted

    async with memory_system(workers=5, sandboxes={0: Liar("lie")}) as system:
        foreman = system.foreman(under(Careful()))
        assert (await foreman.plan(job())).replicas == 3
        assert await foreman.run(job()) == COUNTS
        rules = {(task.name.phase, task.purchases[0].rule) for task in await foreman.history()}
    assert rules == {(Phase.MAP, "quorum:2"), (Phase.REDUCE, "majority:3:2")}
