"""Clients: each has one address and can be both worker and foreman."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ec262.domain.errors import PurchaseTooExpensive
from ec262.domain.legacy_2012.ledger_2012 import Entry
from ec262.domain.legacy_2012.parameters_2012 import LEAVE_S, Registration


@attrs.frozen(kw_only=True)
class Client:
    """What is known about an address. This is never deleted.

    ``port`` and ``expires_at`` (Unix seconds) are those of the last registration, or None if there was none. ``pooled``
    is true if no task has taken the client since; even so, it is in the pool only until ``expires_at``.
    """

    addr: str
    credits: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    port: int | None = None
    expires_at: float | None = None
    pooled: bool = False
    tasks_completed: int = 0
    tasks_failed: int = 0

    def registered(self, registration: Registration, *, now: float) -> Client:
        """Return the client after a registration."""
        return attrs.evolve(
            self,
            port=registration.port,
            expires_at=now + registration.ttl_s,
            pooled=registration.ttl_s != LEAVE_S,
        )

    def booked(self, entries: Iterable[Entry]) -> Client:
        """Return the client with its own entries added to its credits."""
        return attrs.evolve(
            self, credits=self.credits + sum(entry.amount for entry in entries if entry.client == self.addr)
        )

    def counted(self, *, failed: bool) -> Client:
        """Return the client with one more completed or failed task."""
        if failed:
            return attrs.evolve(self, tasks_failed=self.tasks_failed + 1)
        return attrs.evolve(self, tasks_completed=self.tasks_completed + 1)

    def afford(self, price: int) -> None:
        """Raise PurchaseTooExpensive if the credits do not cover a price."""
        if price > self.credits:
            raise PurchaseTooExpensive(have=self.credits, need=price)

    def record(self) -> dict[str, str]:
        """Return the client as sent to itself: all values are text, and those that never existed are absent."""
        values = {
            "addr": self.addr,
            "port": self.port,
            "expiry": None if self.expires_at is None else int(self.expires_at),
            "credits": self.credits,
            "tasks_completed": self.tasks_completed or None,
            "tasks_failed": self.tasks_failed or None,
        }
        return {name: str(value) for name, value in values.items() if value is not None}
