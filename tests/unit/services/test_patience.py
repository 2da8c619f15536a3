from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from ec262.domain.errors import DiscoveryUnavailable, UnknownTask
from ec262.services.patience import doubled, until_answered


def test_pauses_double_up_to_the_longest() -> None:
    assert list(itertools.islice(doubled(1.0, 5.0), 5)) == [1.0, 2.0, 4.0, 5.0, 5.0]


async def test_asks_again_while_there_is_no_answer() -> None:
    answers: Iterator[int | Exception] = iter([DiscoveryUnavailable("away"), DiscoveryUnavailable("away"), 42])

    async def ask() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await until_answered(ask, doubled(0.001, 0.001), within_s=5) == 42


async def test_gives_up_in_the_end() -> None:
    async def ask() -> int:
        raise DiscoveryUnavailable("away")

    with pytest.raises(DiscoveryUnavailable, match="did not answer for"):
        await until_answered(ask, doubled(0.001, 0.001), within_s=0.05)


async def test_a_no_is_an_answer() -> None:
    async def ask() -> int:
        raise UnknownTask("unknown")

    with pytest.raises(UnknownTask):
        await until_answered(ask, doubled(9.0, 9.0), within_s=5)
