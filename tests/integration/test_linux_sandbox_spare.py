"""The child that waits for a task."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from typing import Any

import attrs
import pytest
import pytest_asyncio

from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.adapters.sandbox.linux.offspring import RequestedChild
from ec262.adapters.sandbox.linux.spare import Spare
from ec262.domain.errors import SandboxLimitExceeded
from ec262.domain.work.work import Limits
from tests.canaries import has, is_first_of_namespace, session_of
from tests.sandbox_jobs import LIMITS, assert_serves, is_busy, is_idle, map_work, served, sleep, zygote_of

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox needs Linux"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(loop_scope="module")
async def sandbox() -> AsyncIterator[LinuxSandbox]:
    async with served() as box:
        yield box


def children(sandbox: LinuxSandbox) -> set[int]:
    zygote = zygote_of(sandbox)
    return {process for process in session_of(zygote) - {zygote} if not is_first_of_namespace(process)}


async def test_a_task_gets_the_child_that_waits(sandbox: LinuxSandbox) -> None:
    waiting = children(sandbox)
    run = asyncio.create_task(sandbox.run(map_work(sleep), LIMITS))
    assert await is_busy(sandbox)
    assert children(sandbox) == waiting
    run.cancel()
    await asyncio.wait([run])
    assert await is_idle(sandbox)
    assert not children(sandbox) & waiting


async def test_it_serves_no_task_with_other_limits(sandbox: LinuxSandbox) -> None:
    def allocate(_key: Any, _value: Any) -> Iterable[tuple[str, int]]:
        yield "bytes", len(bytearray(100 << 20))

    waiting = children(sandbox)
    with pytest.raises(SandboxLimitExceeded, match="64 MiB of memory"):
        await sandbox.run(map_work(allocate), attrs.evolve(LIMITS, memory_bytes=64 << 20))
    assert await is_idle(sandbox)
    assert not children(sandbox) & waiting


async def test_one_that_was_killed_is_noticed(sandbox: LinuxSandbox) -> None:
    (waiting,) = children(sandbox)
    os.kill(waiting, signal.SIGKILL)
    assert await has(zygote_of(sandbox), 1)
    await assert_serves(sandbox)
    assert await is_idle(sandbox)


async def test_a_failed_spare_does_not_affect_later_tasks() -> None:
    async def fork(_limits: Limits) -> RequestedChild:
        raise OSError("too many open files")

    spare = Spare(fork)
    spare._begin(LIMITS)
    await asyncio.sleep(0.01)
    assert await spare.take(LIMITS) is None


async def test_a_task_that_comes_at_once_does_not_wait_for_it(sandbox: LinuxSandbox) -> None:
    await assert_serves(sandbox)
    assert sandbox._spare is not None
    assert sandbox._spare._forking is None
    await assert_serves(sandbox)
    assert await is_idle(sandbox)


async def test_several_tasks_at_once_get_a_child_each(sandbox: LinuxSandbox) -> None:
    await asyncio.gather(*(assert_serves(sandbox) for _ in range(5)))
    assert await is_idle(sandbox)


async def test_a_task_that_is_cancelled_while_its_child_is_made_leaves_none(sandbox: LinuxSandbox) -> None:
    assert sandbox._spare is not None
    for _ in range(20):
        sandbox._spare.close()
        sandbox._spare._begin(LIMITS)
        run = asyncio.create_task(sandbox.run(map_work(sleep), LIMITS))
        await asyncio.sleep(0)  # it waits for the child that is being forked
        run.cancel()
        await asyncio.wait([run])
    assert await is_idle(sandbox)


async def test_none_is_left_when_the_sandbox_is_closed() -> None:
    box = LinuxSandbox()
    await box.start()
    zygote = zygote_of(box)
    await box.close()
    assert await has(zygote, 0)
