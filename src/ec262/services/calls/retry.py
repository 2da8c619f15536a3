"""Retrying calls while discovery does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from ec262.domain.errors import DiscoveryUnavailable

T = TypeVar("T")


async def until_answered(ask: Callable[[], Awaitable[T]], pauses: Iterator[float], *, within_s: float) -> T:
    """Return what ``ask`` returns, retrying after each pause while discovery does not answer.

    Raises DiscoveryUnavailable after ``within_s`` seconds; other exceptions of ``ask`` are passed on.
    """
    try:
        async with asyncio.timeout(within_s):
            while True:
                try:
                    return await ask()
                except DiscoveryUnavailable:
                    await asyncio.sleep(next(pauses))
    except TimeoutError:
        raise DiscoveryUnavailable(f"discovery did not answer within {within_s:.0f} s") from None
