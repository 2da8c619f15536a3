"""Batching: many small requests become a few large ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


def no_pause() -> float:
    """Return a pause of zero, the default."""
    return 0.0


class Batcher(Generic[Question, Answer]):
    """Combines the questions of one turn of the event loop, or those that arrive during a batch, into one call.

    ``ask`` gets up to ``most`` questions and returns as many answers, in the same order. An answer that is an exception
    is raised to its asker; an exception that ``ask`` raises is raised to every asker of the batch. Between two batches
    there are at least ``pause_s()`` seconds, evaluated after each batch. The first question never waits.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Question]], Awaitable[Sequence[Answer | Exception]]],
        *,
        most: int,
        pause_s: Callable[[], float] = no_pause,
    ) -> None:
        self._ask = ask
        self._most = most
        self._pause_s = pause_s
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, question: Question) -> Answer:
        """Ask one question. Cancelling it does not cancel others."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._work())
        return await answer

    async def close(self) -> None:
        """Stop asking; everyone who still waits is cancelled."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _work(self) -> None:
        """Ask until no question is left. The first batch starts after the current turn of the event loop, and so
        includes all questions of that turn."""
        try:
            while self._waiting:
                self._waiting = [(question, answer) for question, answer in self._waiting if not answer.done()]
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                if batch:
                    await self._settle(batch)
                    await asyncio.sleep(self._pause_s())
        finally:
            self._asking = None
            for _, answer in self._waiting:  # there are none unless this was cancelled
                answer.cancel()

    async def _settle(self, batch: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        answered: list[tuple[asyncio.Future[Answer], Answer | Exception]]
        futures = [future for _, future in batch]
        try:
            # A wrong number of answers fails all questions: none may wait for an answer that never comes.
            answered = list(zip(futures, await self._ask([question for question, _ in batch]), strict=True))
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - raised again for every asker
            answered = [(future, error) for future in futures]
        for future, answer in answered:
            if future.done():  # the asker has given up
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
                future.exception()  # marks it as retrieved: the asker may give up in this very turn
            else:
                future.set_result(answer)
