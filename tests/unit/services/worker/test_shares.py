"""Who gets a part of what many have to share."""

from __future__ import annotations

import asyncio

import pytest

from ec262.domain.errors import MessageTooLarge
from ec262.services.worker.shares import Shares


def shares(*, wait_s: float = 60.0) -> Shares:
    return Shares(100, of_block=60, wait_s=wait_s)


async def asked(memory: Shares, task: str, block: str, size_bytes: int) -> asyncio.Task[None]:
    reserving = asyncio.create_task(memory.reserve(task, block, size_bytes))
    for _ in range(3):
        await asyncio.sleep(0)
    return reserving


async def test_one_copy_of_a_tasks_work_arrives_at_a_time() -> None:
    memory = shares()
    first = await asked(memory, "a", "here", 10)
    second = await asked(memory, "a", "there", 10)
    other = await asked(memory, "b", "there", 10)
    assert (first.done(), second.done(), other.done()) == (True, False, True)
    assert memory.room == 80
    memory.release("a")
    await second
    assert memory.room == 80


async def test_work_waits_for_memory_and_is_not_overtaken() -> None:
    memory = shares()
    memory.hold(70)
    large = await asked(memory, "a", "here", 40)
    small = await asked(memory, "b", "there", 10)
    assert not large.done()
    assert not small.done()
    memory.free(70)
    await asyncio.gather(large, small)
    assert memory.room == 50


async def test_the_peers_of_a_block_share_what_one_message_may_take() -> None:
    memory = shares()
    first = await asked(memory, "a", "here", 50)
    second = await asked(memory, "b", "here", 20)
    stranger = await asked(memory, "c", "there", 50)
    assert (first.done(), second.done(), stranger.done()) == (True, False, True)
    memory.release("a")
    await second


async def test_the_wait_for_memory_is_limited() -> None:
    memory = shares(wait_s=0.05)
    memory.hold(95)
    with pytest.raises(MessageTooLarge, match="no memory for 10 bytes"):
        await memory.reserve("a", "here", 10)
    await memory.reserve("b", "here", 5)


async def test_a_cancelled_caller_keeps_no_room() -> None:
    memory = shares()
    await memory.reserve("a", "here", 10)
    waiting = await asked(memory, "a", "here", 10)
    behind = await asked(memory, "a", "there", 10)
    waiting.cancel()
    await asyncio.wait([waiting])
    memory.release("a")
    behind.cancel()  # its turn has come, but it has not noticed
    await asyncio.wait([behind])
    assert memory.room == 100
