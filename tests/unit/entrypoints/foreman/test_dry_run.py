"""What a dry run says of a plan: its price only where somebody has to pay it."""

from __future__ import annotations

import pytest

from ec262.domain.foreman.job.plan import plan_job
from ec262.entrypoints.foreman.job_command import _describe

ROW_BYTES = 10


@pytest.mark.parametrize(
    ("adds_workers", "priced", "local"),
    [
        (
            False,
            "1 map tasks and 1 reduce tasks, 3 replicas each: 6 credits of 100, 94 to spare",
            "1 map tasks and 1 reduce tasks, 3 replicas each",
        ),
        (
            True,
            (
                "1 map tasks and 1 reduce tasks, 3 replicas each at first: 6 credits of 100, more if workers "
                "disagree, fail or are audited; 94 to spare"
            ),
            "1 map tasks and 1 reduce tasks, 3 replicas each at first",
        ),
    ],
    ids=["fixed", "added"],
)
def test_a_plan(adds_workers: object, priced: str, local: str) -> None:
    plan = plan_job([ROW_BYTES], slots=4, purse=100, replicas=3, adds_workers=bool(adds_workers))
    assert _describe(plan, local=False) == priced
    assert _describe(plan, local=True) == local


def test_a_plan_of_tasks_that_are_sized_by_time() -> None:
    plan = plan_job([ROW_BYTES] * 1000, slots=4, purse=1000, replicas=3)
    assert f": about {plan.price} credits of 1000, " in _describe(plan, local=False)
    assert f"slow rows make more of them (for up to {plan.most_price} credits), fast rows fewer" in _describe(
        plan, local=False
    )
    assert "slow rows make more of them, fast rows fewer" in _describe(plan, local=True)


def test_a_job_without_rows() -> None:
    assert _describe(None, local=False) == _describe(None, local=True) == "the job has no rows: there is nothing to run"
