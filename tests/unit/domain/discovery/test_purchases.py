from __future__ import annotations

import attrs
import pytest

from ec262.domain.discovery.purchases import PurchaseRecord, command_digest
from ec262.domain.errors import PurchaseConflict
from ec262.domain.protocol.foreman_calls import AddReplicas, BuyTasks, ReplicaOrder
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.work.runtime import PythonTag
from tests.discovery_town import order

RECORD = PurchaseRecord(
    id="purchase-1",
    foreman="me",
    command_digest=command_digest(order()),
    tasks=1,
    price=3,
    credits=9,
    shortfall="",
    forgotten_at=1,
)


def test_the_same_command_from_the_same_foreman_is_a_repeat() -> None:
    RECORD.check_repeat(order(), foreman="me")


def test_an_id_belongs_to_whom_it_came_from() -> None:
    with pytest.raises(PurchaseConflict, match="purchase-1"):
        RECORD.check_repeat(order(), foreman="you")


MORE = AddReplicas(purchase="purchase-1", orders=(ReplicaOrder(task="task-0001"),), deadline_s=600.0)


@pytest.mark.parametrize(
    "other",
    [order(tasks=2), order(rule="majority:5"), order(deadline_s=1.0), order(avoid=["worker-1"]), MORE],
    ids=["tasks", "rule", "deadline", "avoid", "replicas"],
)
def test_an_id_stands_for_one_command(other: BuyTasks | AddReplicas) -> None:
    with pytest.raises(PurchaseConflict, match="another purchase"):
        RECORD.check_repeat(other, foreman="me")


# --- digests outlive releases ---------------------------------------------------------------------------------------

BUY = BuyTasks(
    purchase="purchase-1",
    tasks=2,
    rule="quorum:2",
    requirement=Requirement(
        python=PythonTag(implementation="cpython", magic=3495, cloudpickle="3.1", version="3.11"),
        packages=("numpy", "it-s"),
    ),
    deadline_s=600.5,
    avoid=("worker-01",),
)
ADD = AddReplicas(
    purchase="purchase-2",
    orders=(ReplicaOrder(task="task-0001", replicas=2), ReplicaOrder(task="task-0002")),
    deadline_s=60.0,
    avoid=("worker-01", "worker-02"),
)
ADD_ONE = AddReplicas(purchase="purchase-3", orders=(ReplicaOrder(task="task-0001"),), deadline_s=60.0)

STORED = [
    (BUY, "8bf55692794442e47862e698178af663a34d70e84bdec0387943bfe2b7b64c9d"),
    (ADD, "00934df16c01df816a8df3edf49c04473fb425bf2c2cc092f769011d9d950a5d"),
    (ADD_ONE, "e681fa7988452c93c960397cf656138e12986e2999eb2cc3614ae9b404f047da"),
]
"""These are in databases: none may ever change."""

UNVERSIONED = [
    (BUY, "9a5e6747bc76918439e1c73e23fd9dbc7167e73d10617c195d2ddb006b9c4219"),
    (ADD, "52cdb9fdbdba4e72dfa48c4a8edf2ef536478ba0aedbbee5fe8bdcb50a17e1be"),
    (ADD_ONE, "683040e6b1f2eacb87b154acdea5f963ab9db3d98c2086a1fe2a645a97cb6dca"),
]
"""What the digests were when they were made of the commands' repr."""


@pytest.mark.parametrize(("command", "digest"), STORED)
def test_a_digest_is_the_same_in_every_release(command: BuyTasks | AddReplicas, digest: str) -> None:
    assert command_digest(command).hex() == digest


@pytest.mark.parametrize(("command", "digest"), UNVERSIONED)
def test_purchases_of_earlier_releases_can_be_repeated(command: BuyTasks | AddReplicas, digest: str) -> None:
    old = attrs.evolve(RECORD, id=command.purchase, command_digest=bytes.fromhex(digest))
    old.check_repeat(command, foreman="me")
    with pytest.raises(PurchaseConflict):
        old.check_repeat(attrs.evolve(command, deadline_s=61.5), foreman="me")


@pytest.mark.parametrize("command", [BUY, ADD])
def test_how_a_command_is_shown_does_not_matter(
    command: BuyTasks | AddReplicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = attrs.evolve(RECORD, command_digest=command_digest(command))
    for kind in (BuyTasks, AddReplicas, Requirement, PythonTag, ReplicaOrder):
        monkeypatch.setattr(kind, "__repr__", lambda _self: "shown in another way")
    record.check_repeat(command, foreman="me")
    with pytest.raises(PurchaseConflict):
        record.check_repeat(attrs.evolve(command, avoid=()), foreman="me")
