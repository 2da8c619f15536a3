"""Double entry book-keeping of credits.

Every movement takes an amount from one account and gives it to another, so the sum of all balances is always zero.
The mint, where grants come from, is the only account that may go below zero: what it owes is what was ever granted, and
equals what users, escrows and the service hold together. Each movement has an id; the same id twice is one movement.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ec262.domain.errors import LedgerError
from ec262.domain.protocol.reason import Reason

MINT = "mint"
SERVICE = "service"

MAX_GRANT = 10**9
"""Most credits that one grant brings: what the mint owes fits into 64 bits after billions of such grants."""


ESCROW = "escrow:"
"""What the names of escrow accounts begin with."""


def user_account(account: str) -> str:
    """Name the ledger account of a user."""
    return f"user:{account}"


def escrow_account(task: str) -> str:
    """Name the ledger account that holds a task's credits until they are paid, kept or refunded."""
    return f"{ESCROW}{task}"


FOR_WORK = frozenset({Reason.WIN, Reason.DISPUTE})
"""Why credits come to those who computed."""


@attrs.frozen(kw_only=True, slots=False)
class Transfer:
    """``amount`` credits go from ``debit`` to ``credit``. ``at`` (Unix seconds) is for statements only: a repeated
    movement is the same movement whenever it comes."""

    id: str
    debit: str
    credit: str
    amount: int
    reason: Reason
    task: str | None = None
    at: float = attrs.field(eq=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.amount, int) or self.amount <= 0:
            raise ValueError(f"a transfer must move at least 1 credit, not {self.amount}")
        if self.credit == self.debit:
            raise ValueError(f"a transfer from {self.credit} to itself is not allowed")


def grant(account: str, amount: int, *, at: float) -> Transfer:
    """The credits that an account starts with: once an account, whatever is asked later."""
    return Transfer(
        id=f"grant:{account}", debit=MINT, credit=user_account(account), amount=amount, reason=Reason.GRANT, at=at
    )


def invitation_grant(account: str, invitation: str, amount: int, *, at: float) -> Transfer:
    """The credits of an invitation: once an account and invitation."""
    return Transfer(
        id=f"invitation:{invitation}:{account}",
        debit=MINT,
        credit=user_account(account),
        amount=amount,
        reason=Reason.GRANT,
        at=at,
    )


def operator_grant(account: str, amount: int, *, id: str, at: float) -> Transfer:  # noqa: A002 - as the field is named
    """Credits that the operator gives, under an id of its own."""
    return Transfer(
        id=f"operator:{id}", debit=MINT, credit=user_account(account), amount=amount, reason=Reason.GRANT, at=at
    )


def change(transfer: Transfer, account: str) -> int:
    """Return what a transfer does to one of its two accounts."""
    return transfer.amount if transfer.credit == account else -transfer.amount


def moved(balances: Mapping[str, int], transfer: Transfer) -> dict[str, int]:
    """Return the new balances of the two accounts that a transfer touches; an account not listed has zero.

    Raises LedgerError if an account other than the mint would be overdrawn.
    """
    left = balances.get(transfer.debit, 0) - transfer.amount
    if left < 0 and transfer.debit != MINT:
        raise LedgerError(f"{transfer.debit} would be overdrawn by {-left} ({transfer.reason.value} {transfer.id})")
    return {transfer.debit: left, transfer.credit: balances.get(transfer.credit, 0) + transfer.amount}


def audit(balances: Mapping[str, int]) -> int:
    """Return the credits ever granted. Raises LedgerError if the books do not balance."""
    total = sum(balances.values())
    if total != 0:
        raise LedgerError(f"the books do not balance: all accounts add up to {total} credits, not 0")
    overdrawn = sorted(account for account, balance in balances.items() if balance < 0 and account != MINT)
    if overdrawn:
        raise LedgerError(f"accounts other than the mint are overdrawn: {', '.join(overdrawn)}")
    return -balances.get(MINT, 0)
