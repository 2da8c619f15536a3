"""What the owner of a worker decides, as one frozen value."""

from __future__ import annotations

import attrs
from attrs import validators as v

from ec262.domain.protocol.limits import MAX_SLOTS, MAX_TTL_S, MIN_TTL_S
from ec262.domain.work.runtime import RuntimeClass
from ec262.domain.work.work import Limits
from ec262.domain.worker.availability import Availability


@attrs.frozen(kw_only=True)
class WorkerPolicy:
    """How a worker presents itself, and what it grants to strangers. Times are in seconds.

    ``host`` is advertised to foremen; None means the address that discovery sees. ``limits`` cap what a task may use,
    whatever its foreman asks for.
    """

    release: str
    runtime: RuntimeClass
    host: str | None = None
    packages: tuple[str, ...] = ()
    slots: int = attrs.field(default=1, validator=[v.ge(1), v.le(MAX_SLOTS)])
    """Tasks that are computed at the same time."""
    ahead: int = attrs.field(default=0, validator=[v.ge(0), v.le(MAX_SLOTS)])
    """Tasks that may wait for each slot, sent while it computes another; foremen can then be assigned that many
    more."""
    limits: Limits = attrs.field(factory=Limits)
    availability: Availability = attrs.field(factory=Availability)
    """When the machine is lent. At other times the worker is out of the pool, and finishes what was assigned before."""
    invitation: str | None = attrs.field(default=None, repr=False)
    """Code that adds credits to the account when it is opened."""
    lease_s: float = attrs.field(default=60.0, validator=[v.ge(MIN_TTL_S), v.le(MAX_TTL_S)])

    max_payload_bytes: int = 256 << 20
    """The largest work that a foreman may send for one task, once it has proved the assignment."""
    max_pending_bytes: int = 1 << 30
    """Work that may arrive, wait or run at the same time, from all foremen together. Further work is not received until
    there is room."""
    room_s: float = 60.0
    """How long a foreman's work may wait for that room before its connection ends."""
    max_open_tasks: int = 1024
    """Tasks that may be announced, waiting or running at the same time, from all foremen together."""
    max_requests: int = 256
    """Requests of one foreman that may be in progress; beyond that, nothing is read from it until one is done."""
    max_refusals: int = 8
    """A peer with more refusals than this, plus one for each assignment that it has proved, is disconnected."""
    max_proofs: int = 4
    """Connections that one task may protect from being closed when others want to connect."""
    max_deliveries: int = 4
    """Results that may be in transit at the same time, to all foremen together: at most half of them to one address
    block, and one for each task."""

    watch_s: float = 10.0
    """How often to check whether the machine may be lent, unless it always may."""
    greeting_s: float = 10.0
    """How long a new peer may take to say hello."""
    stranger_s: float = 30.0
    """How long a peer that has proved no assignment may be silent."""
    session_s: float = 6 * 3600.0
    """How long a peer that has proved one may be silent."""
    begin_s: float = 60.0
    """How long to wait for a task's work once discovery has confirmed the assignment. Then the task is given up."""
    transfers_s: float = 600.0
    """How much longer to wait if the foreman's link is busy with other work for this worker."""
    assign_s: float = 20.0
    """How long to retry asking for an assignment while discovery does not answer; foremen wait 30 s for the reply."""
    retry_s: float = 0.25
    max_retry_s: float = 15.0
    """The first and the longest pause before a call that discovery did not answer is retried."""
    reply_s: float = 30.0
    """A peer that reads nothing of a reply for this long is disconnected."""
    fetch_s: float = 600.0
    """How long after its task's deadline an unfetched result is kept even if others need the room."""
    last_words_s: float = 30.0
    """When leaving: how long to wait for discovery to accept a result."""
    farewell_s: float = 5.0
    """When leaving: how long committed results are still delivered to foremen that stay connected."""
    look_s: float = 2.0
    """How often to look for waiting tasks that are no longer needed."""
    housekeeping_s: float = 60.0
    """How often to look for forgotten tasks."""

    @property
    def capacity(self) -> int:
        """Tasks that may be assigned at the same time, as reported to discovery."""
        return min(self.slots * (1 + self.ahead), MAX_SLOTS)
