"""Tasks, and how they end."""

from __future__ import annotations

import re

import attrs

from ec262.domain.errors import UnknownTask
from ec262.domain.legacy_2012.addresses_2012 import Endpoint, addr_in

ID_BYTES = 16
"""An id is so many random bytes in hexadecimal: no id is ever made again, and none tells how many there are."""


@attrs.frozen(kw_only=True)
class Task:
    """An open task: ended ones do not exist. It ends by itself at ``expires_at``, Unix seconds. ``workers`` are where
    they were when they were drawn."""

    id: str
    foreman: str
    key: bytes = attrs.field(repr=False)
    expires_at: float
    workers: tuple[Endpoint, ...]

    @property
    def price(self) -> int:
        """The credits that its foreman paid: one for each worker."""
        return len(self.workers)

    def key_for(self, addr: str) -> bytes:
        """Return the key to one of the workers. Raises UnknownTask for everyone else, the foreman included."""
        if all(worker.addr != addr for worker in self.workers):
            raise unknown_task()
        return self.key

    def worker_named(self, text: str) -> str | None:
        """Return the address of the worker that a text (ADDR or ADDR:PORT) names; None if it is none of them."""
        addr = addr_in(text)
        return addr if any(worker.addr == addr for worker in self.workers) else None


@attrs.frozen(kw_only=True)
class Accepted:
    """The foreman took the result: the workers are paid, and it gets the key."""

    key: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Rejected:
    """The foreman did not take the result, and has its credits back: ``credits`` is what it has now."""

    credits: int


def is_task_id(text: str) -> bool:
    """Tell whether a text could be the id of a task; of strangers' texts, storage sees no other."""
    return re.fullmatch(f"[0-9a-f]{{{2 * ID_BYTES}}}", text) is not None


def unknown_task() -> UnknownTask:
    """Return the answer for what does not exist, and for what is none of the caller's business."""
    return UnknownTask("Unknown task")
