"""The long poll of ``POST /v1/verdicts``: replies are held back until there is news."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress

from ec262.domain.protocol.foreman_calls import VerdictQuery, Verdicts
from ec262.domain.protocol.limits import MAX_WAIT_S

LOOK_S = 1.0
"""How often to check the awaited tasks: another process of the service may have decided them."""

MAX_LOOKED_AFTER = 10
"""For how many replies of one caller this is done at a time, because a minute of it counts as one request. Further
replies wait only for the bell."""


class Bell:
    """Wakes callers that wait for a decided task. Belongs to one event loop; any thread may ring it."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._held: Counter[str] = Counter()
        self._closed = False

    def ring(self, tasks: Collection[str]) -> None:
        """Announce that tasks are decided."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop was closed just now: no one is waiting
                self._loop.call_soon_threadsafe(self._wake, tuple(tasks))

    def close(self) -> None:
        """End all waiting, because the service ends. Call it in the event loop."""
        self._closed = True
        self._wake(tuple(self._listeners))

    async def held_back(self, query: VerdictQuery, look: Callable[[], Awaitable[Verdicts]], *, caller: str) -> Verdicts:
        """Return what ``look`` finds as soon as one of the tasks is decided, or when ``wait_s`` have passed."""
        loop = self._loop = asyncio.get_running_loop()
        give_up_at = loop.time() + query.wait_s
        with self._look_every(caller) as look_s, self._listening(query.tasks) as news:
            while True:
                news.clear()
                reply = await look()
                left_s = give_up_at - loop.time()
                if left_s <= 0 or self._closed or query.has_news(reply):
                    return reply
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), min(left_s, look_s))

    @contextmanager
    def _look_every(self, caller: str) -> Iterator[float]:
        self._held[caller] += 1
        try:
            yield LOOK_S if self._held[caller] <= MAX_LOOKED_AFTER else MAX_WAIT_S
        finally:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

    @contextmanager
    def _listening(self, tasks: Collection[str]) -> Iterator[asyncio.Event]:
        news = asyncio.Event()
        for task in tasks:
            self._listeners[task].add(news)
        try:
            yield news
        finally:
            for task in tasks:
                self._listeners[task].discard(news)
                if not self._listeners[task]:
                    del self._listeners[task]

    def _wake(self, tasks: Collection[str]) -> None:
        for task in tasks:
            for news in self._listeners.get(task, ()):
                news.set()
