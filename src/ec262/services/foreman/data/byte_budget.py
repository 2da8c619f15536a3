"""A memory budget that concurrent operations share."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """A number of bytes. A request that does not fit waits until enough are free, in order of arrival. A request for
    more than the whole budget gets all of it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Take bytes, to be returned with ``give``."""
        size = min(size, self._size)
        if not self._waiting and size <= self._free:
            self._free -= size
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # cancelled just after its turn had come
                self._free += size
            self._admit()
            raise

    def give(self, size: int) -> None:
        """Return bytes; ``size`` is what was passed to ``take``."""
        self._free += min(size, self._size)
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if size > self._free:
                    return
                self._free -= size
                turn.set_result(None)
            self._waiting.popleft()
