"""Tasks as the tests of the domain's rules need them."""

from __future__ import annotations

from collections.abc import Sequence

from ec262.domain.discovery.ledger import Transfer
from ec262.domain.discovery.tasks import Replica, Task, commit
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.reason import Reason
from tests.discovery_town import FINGERPRINT, digest, runtime

DEADLINE = 1000.0
EARLY, LATE = DEADLINE - 1, DEADLINE


def replica(worker: str, *, purchase: str = "purchase-1", drawn_at: float = 0.0) -> Replica:
    """A replica of which nothing was heard yet."""
    return Replica(
        worker=worker,
        address=WorkerAddress(host="h", port=4000, fingerprint=FINGERPRINT),
        purchase=purchase,
        drawn_at=drawn_at,
        secret=b"s" * 32,
        delivery_secret=worker.encode().ljust(32, b"d"),
    )


def open_task(*, replicas: int = 3, rule: str = "majority:3") -> Task:
    """A task that was just bought, of the workers w0, w1, ..."""
    return Task(
        id="task-1",
        foreman="foreman",
        rule=rule,
        runtime=runtime(),
        packages=(),
        deadline=DEADLINE,
        forgotten_at=DEADLINE + 100,
        key=b"k" * 32,
        replicas=tuple(replica(f"w{number}") for number in range(replicas)),
    )


def after(task: Task, *commitments: tuple[str, str]) -> Task:
    """The task after commitments of (worker, text), one after another."""
    for worker, text in commitments:
        task, _ = commit(task, worker=worker, digest=digest(text), now=EARLY)
    return task


def moves(transfers: Sequence[Transfer]) -> list[tuple[str, str, int, Reason]]:
    """What moved from where to where, how much, and why."""
    return [(each.debit, each.credit, each.amount, each.reason) for each in transfers]
