"""Clients: an address each, worker and foreman in one."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ec262.domain.errors import PurchaseTooExpensive
from ec262.domain.legacy_2012.ledger_2012 import Entry
from ec262.domain.legacy_2012.parameters_2012 import LEAVE_S, Registration


@attrs.frozen(kw_only=True)
class Client:
    """What is known of an address, for ever.

    ``port`` and ``expires_at`` (Unix seconds) are those of its last registration, None if it never made one.
    ``pooled`` says that no task took it since; in the pool it is until ``expires_at`` only.
    """

    addr: str
    credits: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    port: int | None = None
    expires_at: float | None = None
    pooled: bool = False
    tasks_completed: int = 0
    tasks_failed: int = 0

    def registered(self, registration: Registration, *, now: float) -> Client:
        """Return the client as a registration leaves it."""
        return attrs.evolve(
            self,
            port=registration.port,
            expires_at=now + registration.ttl_s,
            pooled=registration.ttl_s != LEAVE_S,
        )

    def booked(self, entries: Iterable[Entry]) -> Client:
        """Return the client with those of the entries that are its own added to its credits."""
        return attrs.evolve(
            self, credits=self.credits + sum(entry.amount for entry in entries if entry.client == self.addr)
        )

    def counted(self, *, failed: bool) -> Client:
        """Return the client with one more task that it completed, or failed."""
        if failed:
            return attrs.evolve(self, tasks_failed=self.tasks_failed + 1)
        return attrs.evolve(self, tasks_completed=self.tasks_completed + 1)

    def afford(self, price: int) -> None:
        """Raise PurchaseTooExpensive if the credits do not cover a price."""
        if price > self.credits:
            raise PurchaseTooExpensive(have=self.credits, need=price)

    def record(self) -> dict[str, str]:
        """Return the client as it is told about itself: all text; what never was is absent."""
        values = {
            "addr": self.addr,
            "port": self.port,
            "expiry": None if self.expires_at is None else int(self.expires_at),
            "credits": self.credits,
            "tasks_completed": self.tasks_completed or None,
            "tasks_failed": self.tasks_failed or None,
        }
        return {name: str(value) for name, value in values.items() if value is not None}
