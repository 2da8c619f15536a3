"""Memory that several have to share."""

from __future__ import annotations

import asyncio

from ec262.services.foreman.data.byte_budget import Room


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Guest:
    """Takes room in a task of its own."""

    def __init__(self, room: Room, size: int) -> None:
        self.room, self.size = room, size
        self.inside = False
        self.task = asyncio.create_task(self._take())

    async def _take(self) -> None:
        await self.room.take(self.size)
        self.inside = True

    def leave(self) -> None:
        self.inside = False
        self.room.give(self.size)


async def test_requests_for_room_are_served_in_order() -> None:
    room = Room(10)
    first, second, third, small = (Guest(room, size) for size in (6, 4, 8, 1))
    await turns()
    assert [guest.inside for guest in (first, second, third, small)] == [True, True, False, False]
    second.leave()
    await turns()
    assert not third.inside
    assert not small.inside, "nobody overtakes who has waited longer"
    first.leave()
    await turns()
    assert third.inside
    assert small.inside


async def test_a_task_that_needs_more_than_there_is_gets_all_of_it() -> None:
    room = Room(10)
    huge, other = Guest(room, 1000), Guest(room, 1)
    await turns()
    assert (huge.inside, other.inside) == (True, False)
    huge.leave()
    await turns()
    assert other.inside


async def test_a_cancelled_request_for_room_does_not_block_others() -> None:
    room = Room(10)
    first, second, third = Guest(room, 10), Guest(room, 10), Guest(room, 2)
    await turns()
    second.task.cancel()
    await turns()
    first.leave()
    await turns()
    assert third.inside
    await room.take(8)


async def test_room_that_was_given_to_who_is_cancelled_at_that_moment_is_not_lost() -> None:
    room = Room(10)
    first, second, third = Guest(room, 10), Guest(room, 10), Guest(room, 10)
    await turns()
    first.leave()  # second has its room now, but has not run yet
    second.task.cancel()
    await turns()
    assert second.task.cancelled()
    assert third.inside
