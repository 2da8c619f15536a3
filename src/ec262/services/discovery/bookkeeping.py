"""Keeping the books short: old movements of credits are added up by account and month."""

from __future__ import annotations

import math
from itertools import takewhile

from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory
from ec262.domain.ports.clock import Clock

FOLD_BATCH = 1000
"""Movements that are added up in one transaction. Other transactions wait for it, for tens of milliseconds."""

FOLD_BATCHES = 10
"""Batches in one sweep: enough to keep up with a busy service."""

LOOK_AGAIN_S = 3600.0
"""The longest wait before looking again if no movement is old enough."""


class Folding:
    """Adds up movements older than ``history_s``, in ledger order. Every process that shares the storage may do so."""

    def __init__(self, unit_of_work: UnitOfWorkFactory, clock: Clock, history_s: float) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._history_s = history_s
        self._after = 0
        self._not_before = -math.inf

    def sweep(self) -> None:
        """Add up movements that have become old, a limited number at a time."""
        now = self._clock()
        if now < self._not_before:
            return
        for _ in range(FOLD_BATCHES):
            if not self._fold(now):
                return

    def _fold(self, now: float) -> bool:
        """Add up one batch; return whether there are more."""
        oldest = now - self._history_s
        with self._unit_of_work() as uow:
            found = uow.ledger.oldest(after=self._after, limit=FOLD_BATCH + 1)
            # The last movement stays: new ones are numbered after it.
            old = list(takewhile(lambda row: row[1].at < oldest, found[:-1]))
            if old:
                uow.ledger.fold(after=self._after, upto=old[-1][0])
                uow.commit()
        if old:
            self._after = old[-1][0]
        if len(old) == FOLD_BATCH:
            return True
        next_at = found[len(old)][1].at if len(found) > len(old) + 1 else now
        self._not_before = min(next_at + self._history_s, now + LOOK_AGAIN_S)
        return False
