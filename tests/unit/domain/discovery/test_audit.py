"""What an audit finds, each kind of wrong once."""

from __future__ import annotations

import pytest

from ec262.domain.discovery.audit import MAX_FINDINGS, Audit, audit_books
from ec262.domain.discovery.ledger import Transfer, grant, moved
from ec262.domain.discovery.tasks import Replica, Task
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.reason import Reason
from tests.discovery_town import FINGERPRINT, runtime

TASK = "task-0001"


def task(replicas: int = 3, name: str = TASK) -> Task:
    address = WorkerAddress(host="192.0.2.1", port=1, fingerprint=FINGERPRINT)
    return Task(
        id=name,
        foreman="foreman",
        rule="majority:3",
        runtime=runtime(),
        packages=(),
        deadline=10,
        forgotten_at=20,
        key=b"k" * 32,
        replicas=tuple(
            Replica(
                worker=f"worker-{number}",
                address=address,
                purchase="purchase",
                drawn_at=0,
                secret=b"s" * 32,
                delivery_secret=b"d" * 32,
            )
            for number in range(replicas)
        ),
    )


TRANSFERS = [
    grant("foreman", 12, at=0),
    Transfer(
        id="purchase", debit="user:foreman", credit=f"escrow:{TASK}", amount=3, reason=Reason.PURCHASE, task=TASK, at=1
    ),
]


def right_balances() -> dict[str, int]:
    balances: dict[str, int] = {}
    for transfer in TRANSFERS:
        balances |= moved(balances, transfer)
    return balances


def audited(**changes: int) -> tuple[str, ...]:
    """The findings after some balances were changed by a thief."""
    names = {name.replace("_", ":", 1): value for name, value in changes.items()}
    return audit_books(right_balances() | names, TRANSFERS, [task()], escrow=3).findings


def test_right_books() -> None:
    assert audit_books(right_balances(), iter(TRANSFERS), iter([task()]), escrow=3) == Audit(
        granted=12, transfers=2, accounts=3, findings=()
    )
    assert audit_books({}, [], [], escrow=0) == Audit(granted=0, transfers=0, accounts=0, findings=())


def test_a_balance_that_is_not_its_movements() -> None:
    assert audited(user_foreman=90) == (
        "the balances of all accounts add up to 81 credits, not 0",
        "user:foreman has 90 credits, but its transfers add up to 9",
    )


def test_a_movement_between_accounts_that_nobody_wrote_down() -> None:
    assert audited(user_foreman=8, user_thief=1) == (
        "user:foreman has 8 credits, but its transfers add up to 9",
        "user:thief has 1 credits, but its transfers add up to 0",
    )


def test_an_account_below_zero() -> None:
    assert "user:poor is overdrawn by 4" in audited(user_poor=-4)


def test_an_escrow_that_is_not_what_its_task_holds() -> None:
    assert audit_books(right_balances(), TRANSFERS, [task(replicas=2)], escrow=3).findings == (
        f"escrow:{TASK} has 3 credits, but its task holds 2",
    )


def test_a_task_whose_escrow_is_empty() -> None:
    findings = audit_books(right_balances(), TRANSFERS, [task(), task(name="task-0002")], escrow=6).findings
    assert findings == (
        "escrow:task-0002 has 0 credits, but its task holds 3",
        "all escrow accounts together hold 3 credits, but the foremen's tasks hold 6",
    )


def test_an_escrow_without_a_task() -> None:
    assert audit_books(right_balances(), TRANSFERS, [], escrow=3).findings == (
        f"escrow:{TASK} has 3 credits, but its task does not exist",
    )


def test_a_task_of_which_no_movement_speaks() -> None:
    assert audit_books(right_balances(), TRANSFERS, [task()], escrow=5).findings == (
        "all escrow accounts together hold 3 credits, but the foremen's tasks hold 5",
    )


@pytest.mark.parametrize("wrong", [MAX_FINDINGS + 1, 10 * MAX_FINDINGS])
def test_the_number_of_findings_is_limited(wrong: int) -> None:
    balances = {f"user:{number:05}": 1 for number in range(wrong)} | {"mint": -wrong}
    findings = audit_books(balances, [], [], escrow=0).findings
    assert len(findings) == MAX_FINDINGS + 1
    assert findings[-1] == f"... and {wrong + 1 - MAX_FINDINGS} more"
