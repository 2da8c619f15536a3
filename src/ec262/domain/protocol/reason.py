"""Why credits move."""

from __future__ import annotations

import enum


class Reason(enum.Enum):
    """Why credits moved."""

    GRANT = "grant"
    PURCHASE = "purchase"
    WIN = "win"
    DISPUTE = "dispute"
    UNPAID = "unpaid"
    REFUND = "refund"
    MONTH = "month"
    """Not of a movement: of what an account's old movements of a month come to."""

    __hash__ = object.__hash__  # as for TaskState
