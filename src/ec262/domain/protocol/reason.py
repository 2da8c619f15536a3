"""Why credits moved."""

from __future__ import annotations

import enum


class Reason(enum.Enum):
    """Why credits moved. ``month`` sums up the old transfers of a month."""

    GRANT = "grant"
    PURCHASE = "purchase"
    WIN = "win"
    DISPUTE = "dispute"
    UNPAID = "unpaid"
    REFUND = "refund"
    MONTH = "month"
    """Not a transfer, but the sum of an account's old transfers of a month."""

    __hash__ = object.__hash__  # as for TaskState
