"""The ledger: an entry for every change of a client's credits.

Whatever a client gains or loses, a task's escrow loses or gains; grants come from the mint. The entries of an open task
add up to what its foreman paid, those of an ended task to zero.
"""

from __future__ import annotations

import enum

import attrs

from ec262.domain.errors import LedgerError
from ec262.domain.legacy_2012.tasks_2012 import Task2012


class Reason2012(enum.Enum):
    """Why credits moved."""

    GRANT = "grant"
    PURCHASE = "purchase"
    PAY = "pay"
    REFUND = "refund"


@attrs.frozen(kw_only=True)
class Entry:
    """One entry: the client gained ``amount`` credits, or lost them if it is negative. Each ``id`` occurs once. ``at``
    is in Unix seconds."""

    id: str
    client: str
    amount: int
    reason: Reason2012
    task: str | None
    at: float


@attrs.frozen(kw_only=True)
class Totals:
    """Sums over the ledger: what clients have, what open tasks hold in escrow, and what was ever granted."""

    credits: int
    escrow: int
    granted: int


def grant(addr: str, amount: int, *, at: float) -> tuple[Entry, ...]:
    """Return the entry for a client's starting credits, or none if they are zero."""
    entry = Entry(id=f"grant:{addr}", client=addr, amount=amount, reason=Reason2012.GRANT, task=None, at=at)
    return (entry,) if amount else ()


def purchase(task: Task2012, *, at: float) -> Entry:
    """Return the entry for what a foreman pays for a task."""
    return Entry(
        id=f"purchase:{task.id}",
        client=task.foreman,
        amount=-task.price,
        reason=Reason2012.PURCHASE,
        task=task.id,
        at=at,
    )


def payments(task: Task2012, *, at: float) -> tuple[Entry, ...]:
    """Return the entries for the workers of a task whose result was accepted: one credit each."""
    return tuple(
        Entry(
            id=f"pay:{task.id}:{worker.addr}", client=worker.addr, amount=1, reason=Reason2012.PAY, task=task.id, at=at
        )
        for worker in task.workers
    )


def refund(task: Task2012, *, at: float) -> Entry:
    """Return the entry for what the foreman gets back for a task that was not ended or had no valid result."""
    return Entry(
        id=f"refund:{task.id}", client=task.foreman, amount=task.price, reason=Reason2012.REFUND, task=task.id, at=at
    )


def audit(totals: Totals) -> int:
    """Return the credits ever granted. Raises LedgerError if the books do not balance."""
    if totals.credits + totals.escrow != totals.granted:
        raise LedgerError(
            f"the books of the 2012 API do not balance: clients have {totals.credits} credits, open tasks hold "
            f"{totals.escrow}, and {totals.granted} were granted"
        )
    return totals.granted
