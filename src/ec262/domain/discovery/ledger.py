"""Double-entry bookkeeping of credits.

Every transfer takes an amount from one account and gives it to another, so the sum of all balances is always zero. The
mint, where grants come from, is the only account that may be overdrawn: what it owes equals all credits ever granted,
and what users, escrows and the service hold together. Each transfer has an id, and posting the same id twice has no
further effect.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ec262.domain.errors import LedgerError
from ec262.domain.protocol.reason import Reason

MINT = "mint"
SERVICE = "service"

MAX_GRANT = 10**9
"""The maximum number of credits in one grant: even after billions of such grants, what the mint owes fits into 64
bits."""


ESCROW = "escrow:"
"""The prefix of the names of escrow accounts."""


def user_account(account: str) -> str:
    """Return the name of a user's ledger account."""
    return f"user:{account}"


def escrow_account(task: str) -> str:
    """Return the name of the ledger account that holds a task's credits until they are paid, kept or refunded."""
    return f"{ESCROW}{task}"


FOR_WORK = frozenset({Reason.WIN, Reason.DISPUTE})
"""The reasons of the transfers that pay workers."""


@attrs.frozen(kw_only=True, slots=False)
class Transfer:
    """``amount`` credits go from ``debit`` to ``credit``. ``at`` (Unix seconds) is only shown in statements: a repeated
    transfer is the same transfer, whatever its time."""

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
    """Return the grant of initial credits, which each account gets only once."""
    return Transfer(
        id=f"grant:{account}", debit=MINT, credit=user_account(account), amount=amount, reason=Reason.GRANT, at=at
    )


def invitation_grant(account: str, invitation: str, amount: int, *, at: float) -> Transfer:
    """Return the grant of an invitation, which each account gets only once per invitation."""
    return Transfer(
        id=f"invitation:{invitation}:{account}",
        debit=MINT,
        credit=user_account(account),
        amount=amount,
        reason=Reason.GRANT,
        at=at,
    )


def operator_grant(account: str, amount: int, *, id: str, at: float) -> Transfer:  # noqa: A002 - as the field is named
    """Return a grant by the operator, with an id that the operator chose."""
    return Transfer(
        id=f"operator:{id}", debit=MINT, credit=user_account(account), amount=amount, reason=Reason.GRANT, at=at
    )


def change(transfer: Transfer, account: str) -> int:
    """Return how much a transfer changes the balance of one of its two accounts."""
    return transfer.amount if transfer.credit == account else -transfer.amount


def moved(balances: Mapping[str, int], transfer: Transfer) -> dict[str, int]:
    """Return the new balances of the two accounts of a transfer. An account that is not in ``balances`` has zero.

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
