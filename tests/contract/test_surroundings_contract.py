"""What every adapter of ``Surroundings`` does."""

from __future__ import annotations

import sys
import time

import pytest

from ec262.adapters.machine.local_surroundings import LocalSurroundings
from ec262.adapters.memory.surroundings import MemorySurroundings
from ec262.domain.worker.surroundings import Surroundings

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="idleness is known on Linux only")


@pytest.fixture(params=["memory", "local", pytest.param("watching", marks=linux_only)])
def surroundings(request: pytest.FixtureRequest) -> Surroundings:
    if request.param == "memory":
        now = time.localtime()
        memory = MemorySurroundings()
        memory.moment = type(memory.moment)(
            minute=now.tm_hour * 60 + now.tm_min, others_load=0.5, input_idle_s=float("inf")
        )
        return memory
    return LocalSurroundings(idleness=request.param == "watching")


async def test_tells_the_moment_again_and_again(surroundings: Surroundings) -> None:
    for _ in range(3):
        before = time.localtime()
        moment = await surroundings.observe()
        after = time.localtime()
        assert moment.minute in {told.tm_hour * 60 + told.tm_min for told in (before, after)}
        assert moment.others_load is None or 0 <= moment.others_load <= 1
        assert moment.input_idle_s >= 0
