"""Old movements of credits, added up: what is kept of them is one entry for each account and month.

Nobody looks back at escrows. What has come into one and is not out of it yet, as far as it was added up, is kept in one
entry without a month, and nothing once the escrow is empty.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ec262.domain.discovery.ledger import ESCROW, FOR_WORK, Transfer, change

NO_MONTH = 0
"""In the place of an escrow's month."""

DAY_S = 24 * 3600


@attrs.frozen(kw_only=True)
class Fold:
    """So many ``movements`` of an account in a ``month`` (UTC, as 202612), and the change that they come to, by reason.
    The last of them is at ``position`` in the books, and came ``at`` that time (Unix seconds)."""

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
        """What all of them come to."""
        return self.purchase + self.win + self.dispute + self.unpaid + self.refund

    @property
    def earned(self) -> bool:
        """Whether the account was paid for work."""
        return any(getattr(self, reason.value) > 0 for reason in FOR_WORK)

    def with_more(self, other: Fold) -> Fold:
        """Return both as one."""
        last = max(self, other, key=lambda fold: fold.position)
        sums = {name: getattr(self, name) + getattr(other, name) for name in ("movements", *REASONS)}
        return attrs.evolve(last, **sums)


@attrs.frozen(kw_only=True)
class Posting:
    """A movement, or what old ones come to, as one account saw it: its place in the books, the change and what was left
    after it."""

    position: int
    entry: Transfer | Fold
    change: int
    balance: int


REASONS = ("purchase", "win", "dispute", "unpaid", "refund")
"""The reasons of what is added up, which are the names of the changes. Grants are never added up: what was given once
under an id is not given again."""


def fold(movements: Iterable[tuple[int, Transfer]]) -> list[Fold]:
    """Add movements up that are no grants, given with their positions; in the order of accounts and months."""
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
    """Tell whether it is an empty escrow's."""
    return fold.month == NO_MONTH and fold.change == 0


def month_of(at: float) -> int:
    """Return the month of a time (Unix seconds, UTC) as 202612."""
    # Years begin in March here, so that the day that some have more is their last: days 0 to 365 of an era of 400.
    day = int(at // DAY_S) + 719_468  # from March 1st of the year 0 on
    era, of_era = divmod(day, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153 + 3
    return (year + era * 400) * 100 + (month if month <= 12 else month - 12 + 100)  # noqa: PLR2004 - months of a year
