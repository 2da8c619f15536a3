"""Purchases: the record that makes buying repeatable."""

from __future__ import annotations

import hashlib

import attrs

from ec262.domain.commands import AddReplicas, BuyTasks
from ec262.domain.errors import PurchaseConflict


@attrs.frozen(kw_only=True)
class PurchaseRecord:
    """What a foreman bought under an id that it made, and what it was told then: replicas for so many ``tasks``, new
    ones or its own open ones (``credits`` is its balance).

    A record that moved credits is kept for ever, so that its id never moves any again; one that moved none is dropped
    at ``forgotten_at`` (Unix seconds).
    """

    id: str
    foreman: str
    command_digest: bytes
    tasks: int
    price: int
    credits: int
    shortfall: str
    forgotten_at: float

    def check_repeat(self, command: BuyTasks | AddReplicas, *, foreman: str) -> None:
        """Raise PurchaseConflict unless the command is the recorded one, from the same foreman."""
        if self.foreman != foreman or self.command_digest != command_digest(command):
            raise PurchaseConflict(f"the purchase id {self.id} was used before, for something else")


def command_digest(command: BuyTasks | AddReplicas) -> bytes:
    """Return the SHA-256 by which a repeated command is known."""
    return hashlib.sha256(repr(command).encode()).digest()
