"""The foreman's state machine where all workers of a task committed, and none won."""

import attrs
import pytest

from ec262.domain.errors import TaskAbandoned
from ec262.domain.foreman.job.diagnosis import Diagnosis, Suspect
from ec262.domain.foreman.job.difference import Difference
from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.foreman.run.running_task import Step
from ec262.domain.protocol.foreman_calls import Verdict
from ec262.domain.verification.task_state import TaskState
from tests.unit.domain.foreman.test_job_run import POLICY, WORKERS, bought, commit, judge, kinds, name, only, started

AGAIN = attrs.evolve(POLICY, attempts=3)
LAST = attrs.evolve(POLICY, attempts=1)
DISPUTED = Verdict(task="task-0001", state=TaskState.DISPUTED, committed=3, outstanding=0, key=b"k" * 32)


def undecided(task: str = "task-0001", committed: int = 3) -> Verdict:
    return Verdict(task=task, state=TaskState.OPEN, committed=committed, outstanding=0)


def diagnosis(suspect: Suspect) -> Diagnosis:
    difference = Difference(where="the value of the key 'a'", first="1 (int)", second="2 (int)")
    return Diagnosis(suspect=suspect, difference=difference, workers=("worker-a", "worker-b"))


def stuck(policy: RunPolicy, tasks: int = 1) -> JobRun:
    """Return a run of tasks "task-0001", ... to which everybody has committed."""
    run = started(tasks, policy)
    asked = tuple(map(name, range(tasks)))
    purchases = tuple(bought(f"task-000{number + 1}") for number in range(tasks))
    run.handle(ev.Bought(now=0, asked=asked, tasks=purchases, shortfall=""))
    for purchase in purchases:
        commit(run, *WORKERS, task=purchase.task)
    return run


def test_the_first_task_that_nobody_wins_is_bought_again() -> None:
    assert ev.Dispute not in kinds(judge(stuck(AGAIN), undecided()))


def test_the_second_is_disputed_and_only_that() -> None:
    run = stuck(AGAIN, tasks=3)
    judge(run, undecided("task-0001"), task="task-0001")
    dispute = only(ev.Dispute, judge(run, undecided("task-0002"), task="task-0002"))
    assert (dispute.name, dispute.task) == (name(1), "task-0002")
    assert [replica.worker for replica in dispute.replicas] == list(WORKERS)
    assert run.count(Step.DISPUTING) == 1
    assert ev.Dispute not in kinds(judge(run, undecided("task-0003"), task="task-0003"))


def test_the_last_chance_is_taken_at_once() -> None:
    assert ev.Dispute in kinds(judge(stuck(LAST), undecided()))


def test_one_commitment_is_nothing_to_compare() -> None:
    assert ev.Dispute not in kinds(judge(stuck(LAST), undecided(committed=1)))


@pytest.mark.parametrize("suspect", [Suspect.FLOATS, Suspect.ORDER, Suspect.TIME])
def test_a_failure_that_no_liar_produces_by_chance_ends_the_job_by_name(suspect: Suspect) -> None:
    run = stuck(AGAIN, tasks=2)
    judge(run, undecided("task-0001"), task="task-0001")
    judge(run, undecided("task-0002"), task="task-0002")
    event = ev.Diagnosed(now=3, task="task-0002", verdict=DISPUTED, diagnosis=diagnosis(suspect))
    fail = only(ev.Fail, run.handle(event))
    assert isinstance(fail.error, TaskAbandoned)
    values = "the value of the key 'a': 1 (int) from worker worker-a, 2 (int) from worker worker-b"
    assert f"{values}; the cause looks like {suspect.value}" in str(fail.error)


@pytest.mark.parametrize("suspect", [Suspect.RANDOMNESS, Suspect.CHEATING, None])
def test_possible_lies_are_bought_again_and_remembered(suspect: Suspect | None) -> None:
    run = stuck(attrs.evolve(POLICY, attempts=2), tasks=2)
    first = judge(run, undecided("task-0001"), task="task-0001")
    judge(run, undecided("task-0002"), task="task-0002")
    found = diagnosis(suspect) if suspect else None
    event = ev.Diagnosed(now=3, task="task-0002", verdict=DISPUTED, diagnosis=found)
    after = run.handle(event)
    assert ev.Fail not in kinds(after)
    assert run.handle(event) == []  # told twice
    asked = only(ev.Buy, first).tasks
    run.handle(ev.Bought(now=4, asked=asked, tasks=(bought("task-0009"),), shortfall=""))
    commit(run, *WORKERS, task="task-0009")
    fail = only(ev.Fail, judge(run, undecided("task-0009"), task="task-0009", now=5))
    assert ("the cause looks like" if suspect else "if no worker lied") in str(fail.error)


def test_a_disputed_task_has_no_refund_to_wait_for() -> None:
    run = stuck(AGAIN, tasks=2)
    judge(run, undecided("task-0001"), task="task-0001")
    run._purchases._refunds.clear()
    judge(run, undecided("task-0002"), task="task-0002")
    run.handle(ev.Diagnosed(now=3, task="task-0002", verdict=DISPUTED, diagnosis=None))
    assert run._purchases._refunds == []
