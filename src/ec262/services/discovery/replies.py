"""Replies of the discovery service, built from stored values."""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter
from typing import assert_never

from ec262.domain.discovery import ledger
from ec262.domain.discovery.accounts import Account
from ec262.domain.discovery.fast_evolve import fast_evolve
from ec262.domain.discovery.folding import Fold, Posting
from ec262.domain.discovery.ledger import Transfer
from ec262.domain.discovery.purchases import PurchaseRecord
from ec262.domain.discovery.tasks import Task
from ec262.domain.discovery.unit_of_work import UnitOfWork
from ec262.domain.errors import PurchaseConflict
from ec262.domain.protocol.account_calls import AccountStatus, HistoryEntry
from ec262.domain.protocol.foreman_calls import (
    BoughtReplica,
    BoughtTask,
    DisputedResult,
    Purchase,
    Verdict,
    Vote,
    Winner,
)
from ec262.domain.protocol.reason import Reason
from ec262.domain.protocol.worker_calls import Assignment
from ec262.domain.verification.rules import MAX_REPLICAS
from ec262.domain.verification.task_state import TaskState


def account_status(uow: UnitOfWork, account: Account) -> AccountStatus:
    """Return the status of an account."""
    held = uow.tasks.holdings(account.id)
    return AccountStatus(
        account=account.id,
        credits=uow.ledger.balance(ledger.user_account(account.id)),
        escrow=held.credits,
        open_tasks=held.tasks,
        reports=uow.reports.count(account.id),
        frozen=account.frozen,
    )


def history_entry(posting: Posting) -> HistoryEntry:
    """Return a movement of an account with its explanation."""
    entry = posting.entry
    return HistoryEntry(
        position=posting.position,
        at=entry.at,
        change=posting.change,
        balance=posting.balance,
        reason=Reason.MONTH if isinstance(entry, Fold) else entry.reason,
        task=None if isinstance(entry, Fold) else entry.task,
        text=_months_explanation(entry) if isinstance(entry, Fold) else _explanation(entry),
    )


def _months_explanation(fold: Fold) -> str:
    what = {
        "bought replicas": fold.purchase,
        "computed tasks that won": fold.win,
        "computed tasks that were disputed": fold.dispute,
        "refunds": fold.refund,
        "unearned shares": fold.unpaid,
    }
    year, month = divmod(fold.month, 100)
    movements = f"{fold.movements:,} movement{'' if fold.movements == 1 else 's'}"
    sums = ", ".join(f"{text} {change:+,}" for text, change in what.items() if change)
    return f"{year}-{month:02}, {movements} in total: {sums}"


def _explanation(transfer: Transfer) -> str:
    task, amount, reason = transfer.task, transfer.amount, transfer.reason
    match reason:
        case Reason.GRANT:
            return {"grant": "starting credits", "invitation": "an invitation"}.get(
                transfer.id.partition(":")[0], "granted by the operator"
            )
        case Reason.PURCHASE:
            return f"bought {amount} {'replica' if amount == 1 else 'replicas'} of task {task}"
        case Reason.WIN:
            return f"computed task {task}: the result won"
        case Reason.DISPUTE:
            return f"computed task {task}: no result won, and the foreman paid to compare them all"
        case Reason.REFUND:
            return f"refund: task {task} was not won before its deadline"
        case Reason.UNPAID:
            return f"task {task}: unearned shares of its workers"
        case Reason.MONTH:
            raise AssertionError(f"{transfer.id} is not a single movement")
        case _:
            assert_never(reason)


def worker_assignment(task: Task, worker: str, now: float) -> Assignment:
    """Return a worker's assignment to a task. Raises UnknownTask, TaskClosed."""
    replica = task.replica_of(worker)
    return Assignment(
        task=task.id,
        key=task.running_key(),
        secret=replica.secret,
        delivery_digest=replica.delivery_digest,
        deadline_in_s=task.deadline - now,
        forgotten_in_s=task.forgotten_at - now,
        # Only for workers that have not committed: the others must not learn whether they were audited.
        won=task.state is TaskState.WON and replica.outstanding,
    )


def purchase_reply(record: PurchaseRecord, bought: Collection[Task], now: float) -> Purchase:
    """Return the reply to a purchase, with its tasks ordered by id. Raises PurchaseConflict if some have been
    forgotten."""
    if len(bought) < record.tasks:
        raise PurchaseConflict(f"the tasks of purchase {record.id} have been forgotten: buy again under a new id")
    return Purchase(
        purchase=record.id,
        tasks=tuple(
            BoughtTask(
                task=task.id,
                deadline_s=max(0.0, task.deadline - now),
                replicas=tuple(
                    BoughtReplica(worker=replica.worker, address=replica.address, secret=replica.secret)
                    for replica in task.replicas
                    if replica.purchase == record.id
                ),
            )
            for task in sorted(bought, key=attrgetter("id"))
        ),
        price=record.price,
        credits=record.credits,
        shortfall=record.shortfall,
    )


def task_verdict(task: Task, *, votes: bool = False) -> Verdict:
    """Return a task's verdict for its foreman. What opens results is included only after a win or a bought dispute, and
    so are the votes if they are requested."""
    verdict = Verdict(
        task=task.id,
        state=task.state,
        committed=task.committed,
        outstanding=task.outstanding,
        confidence=task.confidence,
    )
    if task.state is TaskState.OPEN:
        finding = task.finding()
        wanted = min(finding.wanted, MAX_REPLICAS - len(task.replicas))
        return fast_evolve(verdict, wanted=wanted, confidence=finding.confidence)
    if votes and (task.won or task.state is TaskState.DISPUTED):
        verdict = fast_evolve(verdict, rule=task.rule, audited=task.audited, votes=_votes(task))
    if task.state is TaskState.DISPUTED:
        results = tuple(
            DisputedResult(worker=replica.worker, digest=replica.digest, delivery_secret=replica.delivery_secret)
            for replica in task.replicas
            if replica.digest is not None
        )
        return fast_evolve(verdict, key=task.key, results=results)
    if not task.won:
        return verdict
    winners = tuple(
        Winner(worker=replica.worker, delivery_secret=replica.delivery_secret)
        for replica in task.replicas
        if replica.paid or (task.state is TaskState.PROVISIONAL and replica.digest == task.digest)
    )
    return fast_evolve(verdict, key=task.key, digest=task.digest, winners=winners)


def _votes(task: Task) -> tuple[Vote, ...]:
    cast = sorted(
        (replica.arrival, replica.worker, replica.digest, replica.trust)
        for replica in task.replicas
        if replica.arrival is not None and replica.digest is not None
    )
    return tuple(
        Vote(worker=worker, digest=digest, agreed=trust.agreed, recent=trust.recent)
        for _, worker, digest, trust in cast
    )
