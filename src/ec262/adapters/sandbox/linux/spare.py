"""A child that is forked and locked in while nobody waits for it, so that the next task need not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from ec262.adapters.sandbox.linux.offspring import RequestedChild
from ec262.domain.errors import SandboxBroken
from ec262.domain.work.work import Limits

PAUSE_S = 0.01
"""First what a task's end brings about is done, and a task that comes sooner than that gains nothing."""


class Spare:
    """At most one child, which has met no task yet and serves one with the limits that it was forked with."""

    def __init__(self, fork: Callable[[Limits], Coroutine[None, None, RequestedChild]]) -> None:
        self._fork = fork
        self._timer: asyncio.TimerHandle | None = None
        self._forking: asyncio.Task[RequestedChild] | None = None
        self._limits: Limits | None = None

    def prepare(self, limits: Limits) -> None:
        """Have one forked soon, unless there is one."""
        if self._timer is None and self._forking is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._begin, limits)

    def _begin(self, limits: Limits) -> None:
        self._timer = None
        self._limits = limits
        self._forking = asyncio.create_task(self._fork(limits))
        self._forking.add_done_callback(_failed)  # what is wrong is told to who needs a child

    async def take(self, limits: Limits) -> RequestedChild | None:
        """Return the child; None if there is none, or none that serves, which is ended then."""
        forking = self._let_go()
        if forking is None:
            return None
        try:
            child = await forking if limits == self._limits else None
        except (SandboxBroken, OSError):
            return None
        except asyncio.CancelledError:
            _end(forking)
            raise
        if child is None or not child.is_waiting():
            _end(forking)
            return None
        return child

    def close(self) -> None:
        """End the child, if there is one."""
        forking = self._let_go()
        if forking is not None:
            _end(forking)

    def _let_go(self) -> asyncio.Task[RequestedChild] | None:
        if self._timer is not None:
            self._timer.cancel()
        forking, self._forking, self._timer = self._forking, None, None
        return forking


def _failed(forking: asyncio.Task[RequestedChild]) -> bool:
    return forking.cancelled() or forking.exception() is not None


def _end(forking: asyncio.Task[RequestedChild]) -> None:
    forking.cancel()
    forking.add_done_callback(lambda ended: None if _failed(ended) else ended.result().kill())
