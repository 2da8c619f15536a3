"""Keeping the books short: old movements of credits are added up by account and month."""

from __future__ import annotations

import math
from itertools import takewhile

from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory
from ec262.domain.ports.clock import Clock

FOLD_BATCH = 1000
"""Movements that are added up in one go: others wait for it, some ten milliseconds."""

FOLD_BATCHES = 10
"""In one sweep; so they keep up with what a busy service does meanwhile."""

LOOK_AGAIN_S = 3600.0
"""The longest time until the next look where nothing is old enough."""


class Folding:
    """Adds up what is older than ``history_s``, in the order of the books; each process over a storage may."""

    def __init__(self, unit_of_work: UnitOfWorkFactory, clock: Clock, history_s: float) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._history_s = history_s
        self._after = 0
        self._not_before = -math.inf

    def sweep(self) -> None:
        """Add up what has become old, a limited number of movements."""
        now = self._clock()
        if now < self._not_before:
            return
        for _ in range(FOLD_BATCHES):
            if not self._fold(now):
                return

    def _fold(self, now: float) -> bool:
        """Add a batch up; tell whether there is more to do."""
        oldest = now - self._history_s
        with self._unit_of_work() as uow:
            found = uow.ledger.oldest(after=self._after, limit=FOLD_BATCH + 1)
            # The last one stays: new movements are numbered behind it.
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
