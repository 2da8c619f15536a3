from __future__ import annotations

import pytest

from ec262.domain.commands import AddReplicas, BuyTasks, ReplicaOrder
from ec262.domain.errors import PurchaseConflict
from ec262.domain.purchases import PurchaseRecord, command_digest
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
    with pytest.raises(PurchaseConflict, match="something else"):
        RECORD.check_repeat(other, foreman="me")
