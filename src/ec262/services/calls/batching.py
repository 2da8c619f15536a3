"""Many small questions as few large ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


def no_pause() -> float:
    """Return the pause of a batcher that makes none."""
    return 0.0


class Batcher(Generic[Question, Answer]):
    """Gathers what is asked in one turn of the event loop, or while a batch is under way, and asks it together.

    ``ask`` gets up to ``most`` questions and returns as many answers, in their order; an answer that is an exception is
    raised where it was asked for, and one that ``ask`` raises is raised for the whole batch. Between two batches there
    are at least ``pause_s()`` seconds, which are asked for after each; a first question never waits.
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
        """Ask one question. Cancelling it cancels nobody else's."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._work())
        return await answer

    async def close(self) -> None:
        """Ask nothing more; whoever still waits is cancelled."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _work(self) -> None:
        """Ask until nobody waits; it begins when the turn that it was made in is over, so it finds all of that turn."""
        try:
            while self._waiting:
                self._waiting = [(question, answer) for question, answer in self._waiting if not answer.done()]
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                if batch:
                    await self._settle(batch)
                    await asyncio.sleep(self._pause_s())
        finally:
            self._asking = None
            for _, answer in self._waiting:  # there are none, unless this was cancelled
                answer.cancel()

    async def _settle(self, batch: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        answered: list[tuple[asyncio.Future[Answer], Answer | Exception]]
        futures = [future for _, future in batch]
        try:
            # Too few or too many answers are an error of all questions: nobody must wait for one that never comes.
            answered = list(zip(futures, await self._ask([question for question, _ in batch]), strict=True))
        except asyncio.CancelledError:
            for future in futures:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - raised again for each who asked
            answered = [(future, error) for future in futures]
        for future, answer in answered:
            if future.done():  # who asked has given up
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
                future.exception()  # who asked may give up in this very turn: then nobody else looks at it
            else:
                future.set_result(answer)
