"""Folding of old transfers: only their sum is kept, one entry for each account and month.

The history of an escrow account is not needed. The folded transfers of an escrow account become one entry without a
month, which is dropped once its sum is zero.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ec262.domain.discovery.ledger import ESCROW, FOR_WORK, Transfer, change

NO_MONTH = 0
"""Stands for the month in the entry of an escrow account."""

DAY_S = 24 * 3600


@attrs.frozen(kw_only=True)
class Fold:
    """The sum of a number of transfers (``movements``) of an account in a ``month`` (UTC, for example 202612), by
    reason. The last of them has the ``position`` in the books and the time ``at`` (Unix seconds)."""

    account: str
    month: int
    position: int
    at: float
    movements: int = 1
    purchase: int = 0
    win: int = 0
    dispute: int = 0
    unpaid: int = 0
    refund: int = 0

    @property
    def change(self) -> int:
        """The change in the balance by all of them together."""
        return self.purchase + self.win + self.dispute + self.unpaid + self.refund

    @property
    def earned(self) -> bool:
        """Whether the account was paid for work."""
        return any(getattr(self, reason.value) > 0 for reason in FOR_WORK)

    def with_more(self, other: Fold) -> Fold:
        """Return the sum of both."""
        last = max(self, other, key=lambda fold: fold.position)
        sums = {name: getattr(self, name) + getattr(other, name) for name in ("movements", *REASONS)}
        return attrs.evolve(last, **sums)


@attrs.frozen(kw_only=True)
class Posting:
    """A transfer, or a fold of old ones, as seen by one account: its position in the books, the change, and the balance
    after it."""

    position: int
    entry: Transfer | Fold
    change: int
    balance: int


REASONS = ("purchase", "win", "dispute", "unpaid", "refund")
"""The reasons of the transfers that are folded, which are also the names of the fields. Grants are never folded: their
ids must be kept, so that no grant is repeated."""


def fold(movements: Iterable[tuple[int, Transfer]]) -> list[Fold]:
    """Fold transfers, given with their positions, none of which is a grant. Return the folds in the order of accounts
    and months."""
    folds: dict[tuple[str, int], Fold] = {}
    for position, transfer in movements:
        for account in (transfer.debit, transfer.credit):
            month = NO_MONTH if account.startswith(ESCROW) else month_of(transfer.at)
            moved = {transfer.reason.value: change(transfer, account)}
            new = Fold(account=account, month=month, position=position, at=transfer.at, **moved)
            known = folds.get((account, month))
            folds[account, month] = new if known is None else known.with_more(new)
    return [folds[key] for key in sorted(folds) if not is_over(folds[key])]


def is_over(fold: Fold) -> bool:
    """Tell whether the fold belongs to an empty escrow account."""
    return fold.month == NO_MONTH and fold.change == 0


def month_of(at: float) -> int:
    """Return the month of a time (Unix seconds, UTC), for example 202612."""
    # Years begin in March here, so that a leap day is the last day of its year. An era has 400 years.
    day = int(at // DAY_S) + 719_468  # since March 1st of the year 0
    era, of_era = divmod(day, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153 + 3
    return (year + era * 400) * 100 + (month if month <= 12 else month - 12 + 100)  # noqa: PLR2004 - the months of a year
