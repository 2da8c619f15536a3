"""When to retry a purchase."""

from __future__ import annotations

import attrs

MAX_RETRY_S = 2.0
"""The longest pause between two attempts to buy while no worker is free."""


@attrs.frozen(kw_only=True)
class Wait:
    """What a refused purchase waits for, and until when at most; ``for_limit`` if it waits until tasks of the account
    are settled."""

    what: str
    until: float
    for_limit: bool = False


@attrs.define
class Retry:
    """When to ask again for workers that were not available: at ``at``, if it is set, after growing pauses.

    ``reach`` is the maximum number of items in the next request. ``wait`` is set while discovery refuses even a single
    one."""

    first_s: float
    reach: int
    at: float | None = None
    wait: Wait | None = None
    pause_s: float = attrs.Factory(lambda self: self.first_s, takes_self=True)

    def later(self, now: float, *, least_s: float = 0.0) -> None:
        """Retry after a pause that is longer than the previous one."""
        self.at = now + max(self.pause_s, least_s)
        self.pause_s = min(2 * self.pause_s, MAX_RETRY_S)

    def no_later_than(self, at: float) -> None:
        """Retry at this time or earlier."""
        self.at = at if self.at is None else min(self.at, at)

    def is_due(self, now: float) -> bool:
        """Tell whether it is time to retry, or there is no reason to wait."""
        return self.at is None or now >= self.at
