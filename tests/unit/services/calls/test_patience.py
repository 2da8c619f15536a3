from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import pytest

from ec262.domain.errors import DiscoveryUnavailable, UnknownTask
from ec262.services.calls.retry import until_answered


async def test_asks_again_while_there_is_no_answer() -> None:
    answers: Iterator[int | Exception] = iter([DiscoveryUnavailable("away"), DiscoveryUnavailable("away"), 42])

    async def ask() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await until_answered(ask, repeat(0.001), within_s=5) == 42


async def test_gives_up_in_the_end() -> None:
    async def ask() -> int:
        raise DiscoveryUnavailable("away")

    with pytest.raises(DiscoveryUnavailable, match="did not answer within"):
        await until_answered(ask, repeat(0.001), within_s=0.05)


async def test_a_no_is_an_answer() -> None:
    async def ask() -> int:
        raise UnknownTask("unknown")

    with pytest.raises(UnknownTask):
        await until_answered(ask, repeat(9.0), within_s=5)
