"""The credit-aware plan."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec262.domain.errors import InsufficientCredits
from ec262.domain.foreman.job.plan import MAX_PARTITION_BYTES, PARTITION_BYTES, Plan, plan_job, plan_reduce, rules_for
from ec262.domain.verification.rules import parse_rule


def test_humpty_dumpty_fits_a_newcomers_twelve_credits() -> None:
    plan = plan_job([30] * 4, slots=3, purse=12, replicas=3)
    assert (plan.map_tasks, plan.reduce_tasks, plan.price, plan.spare) == (2, 1, 9, 3)


@pytest.mark.parametrize("purse", [0, 3, 6, 8])
def test_too_poor_names_have_and_need(purse: int) -> None:
    with pytest.raises(InsufficientCredits, match=f"have {purse}, need 9") as caught:
        plan_job([30] * 4, slots=3, purse=purse, replicas=3)
    assert (caught.value.have, caught.value.need) == (purse, 9)


def test_the_smallest_purse_buys_one_task_a_phase() -> None:
    plan = plan_job([30] * 4, slots=300, purse=9, replicas=3)
    assert (plan.map_tasks, plan.reduce_tasks, plan.spare) == (1, 1, 3)


def test_many_slots_get_many_tasks_but_never_more_than_rows() -> None:
    assert plan_job([1] * 1000, slots=24, purse=10**6, replicas=3).map_tasks == 24
    assert plan_job([1] * 5, slots=24, purse=10**6, replicas=3).map_tasks == 5


def test_large_rows_are_spread_over_more_tasks_than_the_slots_ask_for() -> None:
    plan = plan_job([PARTITION_BYTES] * 20, slots=3, purse=10**6, replicas=3)
    assert plan.map_tasks == 20


def test_large_data_that_the_purse_cannot_spread_is_an_error_before_any_work() -> None:
    with pytest.raises(InsufficientCredits) as caught:
        plan_job([PARTITION_BYTES] * 20, slots=3, purse=12, replicas=3)
    assert caught.value.need == (20 + 1 + 1) * 3


def test_reduce_keeps_to_the_plan_unless_the_values_turn_out_large() -> None:
    plan = Plan(map_tasks=4, reduce_tasks=2, replicas=3, purse=1000)
    assert plan_reduce([10] * 50, plan, purse=988) == 2
    assert plan_reduce([10], plan, purse=988) == 1
    assert plan_reduce([PARTITION_BYTES] * 5, plan, purse=988) == 5
    assert plan_reduce([PARTITION_BYTES] * 5, plan, purse=9) == 2
    assert plan_reduce([PARTITION_BYTES] * 5, plan, purse=3) == 1


def test_a_reduce_phase_that_the_purse_cannot_spread_enough_is_an_error() -> None:
    plan = Plan(map_tasks=4, reduce_tasks=2, replicas=3, purse=1000)
    assert plan_reduce([MAX_PARTITION_BYTES] * 3, plan, purse=9) == 3
    with pytest.raises(InsufficientCredits, match=r"have 8, need 9 .*yielded 384 MiB"):
        plan_reduce([MAX_PARTITION_BYTES] * 3, plan, purse=8)


def test_the_jobs_author_sets_the_number_of_reduce_tasks() -> None:
    plan = plan_job([30] * 4, slots=3, purse=1000, replicas=3, reduce_tasks=7)
    assert (plan.reduce_tasks, plan.given) == (7, True)
    assert plan_reduce([PARTITION_BYTES] * 50, plan, purse=900) == 7
    assert plan_reduce([10] * 5, plan, purse=900) == 5
    assert plan_reduce([MAX_PARTITION_BYTES] * 9, plan, purse=900) == 9, "workers would refuse larger ones"
    with pytest.raises(InsufficientCredits, match=r"have 24, need 27 .*1 map, 7 reduce and 1 spare"):
        plan_job([30] * 4, slots=3, purse=24, replicas=3, reduce_tasks=7)
    assert plan_job([30] * 4, slots=9, purse=27, replicas=3, reduce_tasks=7).map_tasks == 1


def test_less_memory_makes_smaller_partitions() -> None:
    plan = plan_job([1000] * 100, slots=3, purse=1000, replicas=3, partition_bytes=5000)
    assert plan.map_tasks == 20
    assert plan_reduce([1000] * 100, plan, purse=900) == 20


@given(
    sizes=st.lists(st.integers(2, 4 * PARTITION_BYTES), min_size=1, max_size=60),
    slots=st.integers(0, 400),
    purse=st.integers(0, 2000),
    replicas=st.integers(1, 9),
)
def test_a_plan_never_spends_the_reserve(sizes: list[int], slots: int, purse: int, replicas: int) -> None:
    poor: InsufficientCredits | None = None
    try:
        plan = plan_job(sizes, slots=slots, purse=purse, replicas=replicas)
    except InsufficientCredits as error:
        poor = error
    if poor is not None:
        assert poor.have == purse < poor.need
        return
    assert 1 <= plan.map_tasks <= len(sizes)
    assert plan.reduce_tasks >= 1
    assert plan.spare >= replicas


def test_a_rule_that_adds_workers_keeps_a_reserve_for_them() -> None:
    plan = plan_job([30] * 40, slots=100, purse=100, replicas=2, adds_workers=True)
    assert plan.price <= 80
    assert plan_reduce([10] * 500, attrs.evolve(plan, reduce_tasks=500), purse=50) == 19
    with pytest.raises(InsufficientCredits, match="plus a reserve for additional workers") as caught:
        plan_job([30] * 4, slots=9, purse=13, replicas=4, adds_workers=True)
    assert caught.value.need == 14
    assert plan_job([30] * 4, slots=9, purse=14, replicas=4, adds_workers=True).map_tasks == 1


@given(workers=st.integers(0, 40))
def test_rules_that_so_few_workers_suffice_for(workers: int) -> None:
    rules = [parse_rule(spec) for spec in rules_for(workers)]
    assert all(rule.team() <= workers for rule in rules)
    assert bool(rules) == (workers >= 2)
