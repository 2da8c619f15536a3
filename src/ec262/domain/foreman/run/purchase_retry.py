"""When to ask again for what could not be had."""

from __future__ import annotations

import attrs

MAX_RETRY_S = 2.0
"""The longest pause between two attempts to buy while no worker is free."""


@attrs.frozen(kw_only=True)
class Wait:
    """What a purchase that discovery refused waits for, and until when at the latest; ``for_limit`` if it is for the
    account's own tasks to be settled."""

    what: str
    until: float
    for_limit: bool = False


@attrs.define
class Retry:
    """When to ask again for workers that were not available: ``at``, if at all, after pauses that grow.

    ``reach`` is how many items the next request has at most. ``wait`` is set while discovery refuses even one."""

    first_s: float
    reach: int
    at: float | None = None
    wait: Wait | None = None
    pause_s: float = attrs.Factory(lambda self: self.first_s, takes_self=True)

    def later(self, now: float, *, least_s: float = 0.0) -> None:
        """Try again after a pause, longer than the one before."""
        self.at = now + max(self.pause_s, least_s)
        self.pause_s = min(2 * self.pause_s, MAX_RETRY_S)

    def no_later_than(self, at: float) -> None:
        """Try again at this time, if not before."""
        self.at = at if self.at is None else min(self.at, at)

    def is_due(self, now: float) -> bool:
        """Tell whether it is time, or there was never a reason to wait."""
        return self.at is None or now >= self.at
