"""The states of a task at the discovery service."""

from __future__ import annotations

import enum


class TaskState(enum.Enum):
    """States of a task at discovery: open until a digest wins or the deadline passes.

    ``provisional`` is a task that one worker's word has decided: it is won when its foreman accepts it or its deadline
    passes, and open again if that worker was caught lying before. ``lapsed`` is one that was opened again and that
    nobody won: since its key is known, its credits are kept by the service.

    ``settled`` is a won task after its deadline: unpaid shares have gone to the service. ``refunded`` is a task that
    nobody won: its escrow is back, less half of the shares of workers that asked for their part and did not commit, and
    its key destroyed. ``disputed`` is one whose foreman paid all who committed,
    although no digest won, to see what they committed.
    """

    OPEN = "open"
    PROVISIONAL = "provisional"
    WON = "won"
    SETTLED = "settled"
    DISPUTED = "disputed"
    REFUNDED = "refunded"
    LAPSED = "lapsed"

    __hash__ = object.__hash__
    """There is one object of each. Enum's own hash is Python's, and a batch looks up thousands of states."""
