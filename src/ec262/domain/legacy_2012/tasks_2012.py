"""Tasks, and how they end."""

from __future__ import annotations

import re

import attrs

from ec262.domain.errors import UnknownTask
from ec262.domain.legacy_2012.addresses_2012 import Endpoint2012, addr_in

ID_BYTES = 16
"""An id is this many random bytes in hexadecimal, so it is unique and does not reveal how many tasks there are."""


@attrs.frozen(kw_only=True)
class Task2012:
    """An open task; ended tasks are deleted. It ends by itself at ``expires_at`` (Unix seconds). ``workers`` are the
    workers' addresses at the time of the draw."""

    id: str
    foreman: str
    key: bytes = attrs.field(repr=False)
    expires_at: float
    workers: tuple[Endpoint2012, ...]

    @property
    def price(self) -> int:
        """The credits that the foreman paid: one for each worker."""
        return len(self.workers)

    def key_for(self, addr: str) -> bytes:
        """Return the key for one of the workers. Raises UnknownTask for all other addresses, including the
        foreman's."""
        if all(worker.addr != addr for worker in self.workers):
            raise unknown_task()
        return self.key

    def worker_named(self, text: str) -> str | None:
        """Return the address of the worker that a text (ADDR or ADDR:PORT) names, or None if it names none of them."""
        addr = addr_in(text)
        return addr if any(worker.addr == addr for worker in self.workers) else None


@attrs.frozen(kw_only=True)
class Accepted2012:
    """The foreman accepted the result: the workers are paid, and the foreman gets the key."""

    key: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Rejected:
    """The foreman rejected the result and gets a refund: ``credits`` is what it has now."""

    credits: int


def is_task_id(text: str) -> bool:
    """Return whether a text has the form of a task id. Strangers' texts of any other form never reach the storage."""
    return re.fullmatch(f"[0-9a-f]{{{2 * ID_BYTES}}}", text) is not None


def unknown_task() -> UnknownTask:
    """Return the error for a task that does not exist or does not concern the caller."""
    return UnknownTask("Unknown task")
