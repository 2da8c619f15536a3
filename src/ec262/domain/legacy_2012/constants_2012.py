"""The constants of the 2012 API."""

from __future__ import annotations

import attrs
from attrs import validators as v

MAX_PORT = 65_535
MAX_LEASE_S = 24 * 3600


@attrs.frozen(kw_only=True)
class Constants2012:
    """What an operator can set. The defaults are those of 2012."""

    starting_credits: int = attrs.field(default=12, validator=[v.ge(0), v.le(10**9)])
    """The credits of a new client."""

    workers_a_task: int = attrs.field(default=3, validator=[v.ge(1), v.le(99)])
    default_port: int = attrs.field(default=26262, validator=[v.ge(1), v.le(MAX_PORT)])
    """The port of a worker that gives none."""

    lease_s: int = attrs.field(default=60, validator=[v.ge(1), v.le(MAX_LEASE_S)])
    """How long a worker stays in the pool if it gives no time, in seconds."""

    task_ttl_s: float = attrs.field(default=86_400.0, validator=v.gt(0))
    """After how many seconds a task ends if its foreman does not end it."""

    key_bytes: int = attrs.field(default=16, validator=[v.ge(16), v.le(64)])

    @property
    def price(self) -> int:
        """The credits for a task: one for each worker, since otherwise the books would not balance."""
        return self.workers_a_task
