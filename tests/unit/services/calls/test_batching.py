from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Sequence

import pytest

from ec262.services.calls.batching import Batcher


class Echo:
    """Answers each question with itself, when it is let; an exception is an answer like others."""

    def __init__(self, *, most: int = 100, pause_s: float = 0.0) -> None:
        self.batches: list[list[object]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.trouble: Exception | None = None
        self.ask: Batcher[object, object] = Batcher(self._answers, most=most, pause_s=lambda: pause_s)

    async def _answers(self, questions: Sequence[object]) -> list[object]:
        self.batches.append(list(questions))
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        return list(questions)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_requests_of_one_turn_make_one_batch() -> None:
    echo = Echo()
    assert await asyncio.gather(*(echo.ask(number) for number in range(5))) == [0, 1, 2, 3, 4]
    assert await echo.ask("later") == "later"
    assert echo.batches == [[0, 1, 2, 3, 4], ["later"]]


async def test_requests_during_a_batch_wait_for_the_next() -> None:
    echo = Echo()
    echo.gate.clear()
    first = asyncio.create_task(echo.ask(1))
    await turns()
    others = [asyncio.create_task(echo.ask(number)) for number in (2, 3)]
    await turns()
    assert echo.batches == [[1]]
    echo.gate.set()
    assert await asyncio.gather(first, *others) == [1, 2, 3]
    assert echo.batches == [[1], [2, 3]]


async def test_a_batch_has_a_maximum_size() -> None:
    echo = Echo(most=2)
    assert await asyncio.gather(*map(echo.ask, range(5))) == [0, 1, 2, 3, 4]
    assert echo.batches == [[0, 1], [2, 3], [4]]


async def test_each_gets_its_own_error() -> None:
    echo = Echo()
    good, bad = await asyncio.gather(echo.ask(1), echo.ask(ValueError("mine")), return_exceptions=True)
    assert good == 1
    assert isinstance(bad, ValueError)


async def test_an_error_of_the_batch_is_everybodys_and_the_next_one_is_asked_again() -> None:
    echo = Echo()
    echo.trouble = OSError("away")
    errors = await asyncio.gather(echo.ask(1), echo.ask(2), return_exceptions=True)
    assert [type(error) for error in errors] == [OSError, OSError]
    echo.trouble = None
    assert await echo.ask(3) == 3


async def test_a_cancelled_caller_does_not_cancel_others() -> None:
    echo = Echo()
    echo.gate.clear()
    first, second = asyncio.create_task(echo.ask(1)), asyncio.create_task(echo.ask(2))
    await turns()
    waiting, gone = asyncio.create_task(echo.ask(3)), asyncio.create_task(echo.ask(4))
    await turns()
    first.cancel()
    gone.cancel()
    await turns()
    echo.gate.set()
    assert await second == 2
    assert await waiting == 3
    assert echo.batches == [[1, 2], [3]]
    assert first.cancelled()
    assert gone.cancelled()


async def test_without_callers_no_batch_is_sent() -> None:
    echo = Echo()
    echo.gate.clear()
    first = asyncio.create_task(echo.ask(1))
    await turns()
    gone = asyncio.create_task(echo.ask(2))
    await turns()
    gone.cancel()
    await turns()
    echo.gate.set()
    assert await first == 1
    await turns()
    assert echo.batches == [[1]]
    assert await echo.ask(3) == 3


async def test_an_error_that_nobody_waits_for_any_more_is_not_complained_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gc.collect()  # what other tests left has no part in this
    caplog.set_level(logging.ERROR)
    echo = Echo()
    echo.gate.clear()
    asking = asyncio.create_task(echo.ask(ValueError("late")))
    await turns()
    echo.gate.set()
    await asyncio.sleep(0)  # the batch is answered in the next turn, and who asked after that
    asking.cancel()
    await turns()
    gc.collect()
    assert not caplog.records


async def test_the_first_does_not_wait_and_the_next_do() -> None:
    echo = Echo(pause_s=0.1)
    now = asyncio.get_running_loop().time
    began = now()
    await echo.ask(1)
    assert now() - began < 0.05
    await asyncio.gather(echo.ask(2), asyncio.sleep(0.02))
    assert now() - began >= 0.0999
    assert echo.batches == [[1], [2]]
    await asyncio.sleep(0.15)
    began = now()
    await echo.ask(3)
    assert now() - began < 0.05


async def test_closing_cancels_who_waits() -> None:
    echo = Echo()
    await echo.ask.close()
    echo.gate.clear()
    asked = asyncio.create_task(echo.ask(1))
    await turns()
    waiting = asyncio.create_task(echo.ask(2))
    await turns()
    await echo.ask.close()
    await asyncio.wait([asked, waiting])
    assert asked.cancelled()
    assert waiting.cancelled()
    echo.gate.set()
    assert await echo.ask(3) == 3


@pytest.mark.parametrize("answers", [[], [1, 2]])
async def test_a_wrong_number_of_answers_is_an_error_for_every_caller(answers: list[object]) -> None:
    async def ask(_questions: Sequence[object]) -> list[object]:
        return answers

    async with asyncio.timeout(5):
        with pytest.raises(ValueError, match="argument 2"):
            await Batcher(ask, most=10)("question")
