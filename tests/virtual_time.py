"""Event loops whose time stands still while anything runs: an hour's wait takes no time, a busy machine delays nothing.

Only for what lives in memory: bytes on their way through a socket do not show, so time would run ahead of them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START_S = 1_000_000.0
"""The time at which a loop begins: it also serves as the clock of discovery, for which 0 would be long ago."""


class _Selector(selectors.DefaultSelector):
    """Advances the time instead of waiting, unless a thread is at work, whose end takes none."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = START_S
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not timeout:
            return super().select(timeout)
        if self.threads:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.now_s += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose ``time()`` advances only when nothing is left to do."""

    def __init__(self) -> None:
        self._timer = _Selector()
        super().__init__(self._timer)
        self._clock_resolution = 1e-6  # what adding up a million seconds loses is less

    def time(self) -> float:
        return self._timer.now_s

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._timer.threads += 1
        future.add_done_callback(self._ended)
        return future

    async def shutdown_default_executor(self, *timeout: Any) -> None:
        self._timer.threads += 1  # it waits for a thread, from Python 3.12 on with a time limit
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self._timer.threads -= 1

    def _ended(self, _future: asyncio.Future[Any]) -> None:
        self._timer.threads -= 1


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time, as ``asyncio.run`` would."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Hook of pytest-asyncio: the conftest that imports it has its directory's tests in virtual time."""
    return {"virtual time": VirtualTimeLoop}
