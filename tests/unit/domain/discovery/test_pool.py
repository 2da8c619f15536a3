from __future__ import annotations

from typing import Any

import pytest

from ec262.domain.discovery.pool.pool import Lot, Member, Pool, Tie
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.networks import address_block
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.work.runtime import PythonTag
from tests.discovery_town import FINGERPRINT, OTHER_PYTHON, PYTHON, REQUIREMENT, runtime


def member(
    worker: str,
    *,
    python: PythonTag = PYTHON,
    machine: str = "x86_64",
    packages: tuple[str, ...] = (),
    slots: int = 1,
    owner: str = "",
    block: str = "",
) -> Member:
    return Member(
        worker=worker,
        address=WorkerAddress(host="h", port=1, fingerprint=FINGERPRINT),
        runtime=runtime(python=python, machine=machine),
        packages=frozenset(packages),
        slots=slots,
        expires_at=1,
        owner=owner or worker,
        block=block or worker,
    )


def pool(*members: Member, busy: dict[str, int] | None = None) -> Pool:
    return Pool(members=members, busy=busy or {})


def lot(*, tasks: int = 1, requirement: Requirement = REQUIREMENT, **more: Any) -> Lot:
    return Lot(requirement=requirement, foreman="me", replicas=3, tasks=tasks, **more)


def test_free_slots_are_those_that_no_open_task_holds() -> None:
    worker = member("a", slots=3)
    assert pool(worker).free_slots(worker) == 3
    assert pool(worker, busy={"a": 2, "b": 9}).free_slots(worker) == 1


def test_a_worker_that_shrank_has_no_negative_slots() -> None:
    worker = member("a", slots=1)
    assert pool(worker, busy={"a": 2}).free_slots(worker) == 0


def test_eligible_are_those_with_the_right_python_and_the_packages() -> None:
    fits, more = member("fits", packages=("numpy",)), member("more", packages=("numpy", "scipy"))
    everybody = pool(fits, more, member("bare"), member("new", python=OTHER_PYTHON, packages=("numpy",)))
    requirement = Requirement(python=PYTHON, packages=("numpy",))
    assert everybody.eligible(requirement, foreman="me") == (fits, more)


def test_a_foreman_does_not_draw_itself() -> None:
    assert pool(member("me")).eligible(REQUIREMENT, foreman="me") == ()


def test_the_version_text_decides_nothing() -> None:
    renamed = PythonTag(implementation="cpython", magic=3495, cloudpickle="3.1", version="3.11.9")
    assert pool(member("a", python=renamed)).eligible(REQUIREMENT, foreman="me")


def explain(*members: Member, packages: tuple[str, ...] = (), busy: dict[str, int] | None = None) -> str:
    return pool(*members, busy=busy).explanation(Requirement(python=PYTHON, packages=packages), foreman="me")


def test_nothing_to_explain_where_everybody_fits() -> None:
    assert explain(member("a"), member("b")) == ""


def test_an_empty_pool_says_so() -> None:
    assert explain() == "the pool is empty"


def test_own_workers_are_named_as_such() -> None:
    assert explain(member("me")) == "1 is the foreman's own"


def test_other_pythons_are_counted_the_most_frequent_first() -> None:
    pypy = PythonTag(implementation="pypy", magic=1, cloudpickle="3.1", version="3.10")
    text = explain(member("p", python=pypy), member("a", python=OTHER_PYTHON), member("b", python=OTHER_PYTHON))
    assert text == "2 run cpython 3.12; 1 runs pypy 3.10"


def test_a_python_that_sounds_right_is_named_in_full() -> None:
    same_name = PythonTag(implementation="cpython", magic=3495, cloudpickle="2.0", version="3.11")
    assert explain(member("a", python=same_name)) == "1 runs cpython 3.11 (magic 3495, cloudpickle 2.0)"


def test_missing_packages_are_counted_among_those_with_the_right_python() -> None:
    members = (
        member("a", packages=("numpy",)),
        member("b", packages=("numpy",)),
        member("c"),
        member("d", python=OTHER_PYTHON, packages=("scipy",)),
    )
    assert explain(*members, packages=("numpy", "scipy")) == "1 runs cpython 3.12; 1 lacks numpy; none offers scipy"
    assert explain(*members[:3], member("e"), packages=("numpy",)) == "2 lack numpy"


def test_the_number_of_packages_named_is_limited() -> None:
    assert explain(member("a"), packages=tuple("abcdefghij")).count("none offers") == 5


def test_busy_workers_are_counted() -> None:
    assert explain(member("a"), member("b"), busy={"a": 1}) == "1 is busy"
    assert explain(member("a"), member("b"), busy={"a": 1, "b": 1}) == "2 are busy"


def test_types_that_cannot_be_compared_are_reported() -> None:
    text = explain(member("a"), member("b"), member("c", machine="aarch64"))
    assert text == (
        "the eligible belong to 2 runtime classes, whose results cannot be compared (the largest class has 2 workers)"
    )


@pytest.mark.parametrize("assigned", [2, 3])
def test_no_shortfall_where_all_was_assigned(assigned: int) -> None:
    assert pool().shortfall(lot(tasks=2), assigned=assigned) == ""


def test_a_shortfall_says_what_is_missing_and_why() -> None:
    members = (member("a"), member("b", slots=2), member("c", python=OTHER_PYTHON))
    assert pool(*members).shortfall(lot(tasks=1), assigned=0) == (
        "1 of 1 task not assigned: 3 workers needed for each, 2 eligible with 3 free slots; 1 runs cpython 3.12"
    )


def test_a_shortage_of_slots_needs_no_further_explanation() -> None:
    assert pool(member("a"), member("b"), member("c")).shortfall(lot(tasks=4), assigned=1) == (
        "3 of 4 tasks not assigned: 3 workers needed for each, 3 eligible with 3 free slots"
    )


def test_a_shortfall_of_added_replicas_tells_of_those_that_work_at_the_task_already() -> None:
    members = (member("a"), member("b"), member("c"), member("d", machine="aarch64"), member("e"))
    added = lot(company=frozenset({"a", "b", "gone"}), runtime=runtime())
    assert pool(*members, busy={"c": 1}).shortfall(added, assigned=0) == (
        "1 of 1 task not assigned: 3 workers needed for each, 2 eligible with 1 free slot; 2 already have the task; "
        "1 produces results that are not comparable with those of the task's workers; 1 is busy"
    )
    assert "1 already has the task; 2 produce results" in pool(*members[2:], member("f", machine="arm")).shortfall(
        lot(company=frozenset({"e"}), runtime=runtime()), assigned=0
    )


def test_a_shortage_report_names_workers_kept_apart_by_the_operator() -> None:
    members = (member("a", owner="x"), member("b", owner="x", block="y"), member("c", block="y"), member("d"))
    assert (
        pool(*members)
        .shortfall(lot(tasks=9, apart=frozenset(Tie)), assigned=1)
        .endswith(
            "4 eligible with 4 free slots; "
            "2 of the eligible share an owner with others, but a task gets one worker per owner; "
            "2 of the eligible share an address block with others, but a task gets one worker per address block"
        )
    )
    assert "share" not in pool(*members).shortfall(lot(tasks=9), assigned=1)


def test_a_relation_to_the_tasks_own_workers_is_reported_too() -> None:
    members = (member("a", owner="x"), member("b", owner="x"))
    added = lot(company=frozenset({"a"}), apart=frozenset({Tie.OWNER}))
    assert "1 of the eligible shares an owner with others" in pool(*members).shortfall(added, assigned=0)


def test_the_pool_shows_workers_kept_apart_by_the_operator() -> None:
    members = (member("a", block="x"), member("b", block="x"), member("c"))
    apart = frozenset({Tie.BLOCK})
    assert pool(*members).explanation(REQUIREMENT, foreman="me", apart=apart) == (
        "2 of the eligible share an address block with others, but a task gets one worker per address block"
    )


@pytest.mark.parametrize(
    ("host", "source", "block"),
    [
        ("192.0.2.77", "198.51.100.1", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "198.51.100.1", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "198.51.100.1", "192.0.2.0/24"),
        ("worker-7.example", "198.51.100.1", "198.51.100.0/24"),
        ("worker.example", "Unix", "unix"),
    ],
)
def test_a_block_is_likely_one_network(host: str, source: str, block: str) -> None:
    assert address_block(host, source) == block
