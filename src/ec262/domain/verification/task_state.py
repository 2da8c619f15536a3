"""The states of a task at the discovery service."""

from __future__ import annotations

import enum


class TaskState(enum.Enum):
    """States of a task at discovery. A task is open until a digest wins or its deadline passes.

    A ``provisional`` task was decided by one worker alone. It is won when its foreman accepts it or its deadline
    passes, and reopened if the worker is caught lying before that. A ``lapsed`` task was reopened and then not won.
    Since its key is already known, the service keeps its credits.

    A ``settled`` task was won and its deadline has passed; unpaid shares have gone to the service. A ``refunded`` task
    was not won: its escrow has been returned, less half of the shares of workers that asked for their part and did not
    commit, and its key has been destroyed. A ``disputed`` task was not won either, but its foreman paid all workers
    that committed, to see what they committed.
    """

    OPEN = "open"
    PROVISIONAL = "provisional"
    WON = "won"
    SETTLED = "settled"
    DISPUTED = "disputed"
    REFUNDED = "refunded"
    LAPSED = "lapsed"

    __hash__ = object.__hash__
    """Each state is a single object. Enum's own hash is slow Python code, and a batch looks up thousands of states."""
