"""What the discovery service answers, made out of what it stores."""

from __future__ import annotations

from ec262.domain import ledger
from ec262.domain.commands import (
    AccountStatus,
    Assignment,
    BoughtReplica,
    BoughtTask,
    Purchase,
    Verdict,
    Winner,
)
from ec262.domain.errors import PurchaseConflict, TaskClosed
from ec262.domain.ports.unit_of_work import UnitOfWork
from ec262.domain.purchases import PurchaseRecord
from ec262.domain.tasks import RUNNING, Task


def account_status(uow: UnitOfWork, account: str) -> AccountStatus:
    """Tell an account what it has."""
    return AccountStatus(
        account=account,
        credits=uow.ledger.balance(ledger.user_account(account)),
        escrow=uow.tasks.holdings(account).credits,
    )


def worker_assignment(task: Task, worker: str, now: float) -> Assignment:
    """Tell a worker its part in a task. Raises UnknownTask, TaskClosed."""
    replica = task.replica_of(worker)
    if task.key is None or task.state not in RUNNING:
        raise TaskClosed(f"the deadline of task {task.id} passed")
    return Assignment(
        task=task.id,
        key=task.key,
        secret=replica.secret,
        delivery_digest=replica.delivery_digest,
        deadline_in_s=task.deadline - now,
        forgotten_in_s=task.forgotten_at - now,
    )


def purchase_reply(uow: UnitOfWork, record: PurchaseRecord, now: float) -> Purchase:
    """Tell a foreman what it bought. Raises PurchaseConflict once its tasks are forgotten."""
    bought = uow.tasks.of_purchase(record.id)
    if len(bought) < record.tasks:
        raise PurchaseConflict(f"the tasks of purchase {record.id} are forgotten: buy under a new id")
    return Purchase(
        purchase=record.id,
        tasks=tuple(
            BoughtTask(
                task=task.id,
                deadline_s=max(0.0, task.deadline - now),
                replicas=tuple(
                    BoughtReplica(worker=replica.worker, address=replica.address, secret=replica.secret)
                    for replica in task.replicas
                ),
            )
            for task in bought
        ),
        price=record.price,
        credits=record.credits,
        shortfall=record.shortfall,
    )


def task_verdict(task: Task) -> Verdict:
    """Tell a foreman the state of a task; key, digest and winners only after a win."""
    committed = len(task.commitments())
    if not task.won:
        return Verdict(task=task.id, state=task.state, committed=committed)
    winners = tuple(
        Winner(worker=replica.worker, delivery_secret=replica.delivery_secret)
        for replica in task.replicas
        if replica.paid
    )
    return Verdict(
        task=task.id, state=task.state, committed=committed, key=task.key, digest=task.digest, winners=winners
    )
