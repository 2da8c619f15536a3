from __future__ import annotations

import asyncio

from ec262.services.worker.announcements import Announcements, Line

PATIENCE_S = 60.0
TRANSFERS_S = 600.0


def announcements() -> Announcements:
    return Announcements(patience_s=PATIENCE_S, transfers_s=TRANSFERS_S)


async def test_work_is_waited_for_a_while() -> None:
    waiting = announcements()
    waiting.expect("first", Line())
    await asyncio.sleep(PATIENCE_S - 1)
    waiting.expect("second", Line())
    assert waiting.overdue() == []
    await asyncio.sleep(1)
    assert waiting.overdue() == ["first"]
    waiting.drop("first")
    assert waiting.overdue() == []


async def test_announcing_again_makes_nothing_undone() -> None:
    waiting = announcements()
    for _ in range(4):
        assert waiting.overdue() == []
        waiting.expect("task", Line())
        await asyncio.sleep(PATIENCE_S / 4)
    assert waiting.overdue() == ["task"]


async def test_other_work_that_comes_by_the_line_is_an_excuse_with_a_limit() -> None:
    waiting, line = announcements(), Line()
    line.take()
    await asyncio.sleep(1000)  # before the task was announced, which is no excuse
    waiting.expect("task", line)
    waiting.expect("elsewhere", Line())
    await asyncio.sleep(TRANSFERS_S / 2)
    assert waiting.overdue() == ["elsewhere"]
    line.free()
    await asyncio.sleep(PATIENCE_S / 2)
    line.take()
    await asyncio.sleep(TRANSFERS_S / 2 + PATIENCE_S / 2 - 1)
    assert waiting.overdue() == ["elsewhere"]
    await asyncio.sleep(1)
    assert waiting.overdue() == ["task", "elsewhere"]


async def test_work_that_is_coming_is_not_overdue() -> None:
    waiting, line = announcements(), Line()
    waiting.expect("task", line)
    line.take()
    line.arriving = "task"
    await asyncio.sleep(TRANSFERS_S + PATIENCE_S + 1)
    assert waiting.overdue() == []
    line.arriving = None
    assert waiting.overdue() == ["task"]


async def test_a_worker_that_computes_all_it_takes_of_a_foreman_waits_for_no_more() -> None:
    waiting, line = announcements(), Line()
    waiting.expect("task", line)
    with line.taken(computing=True):
        await asyncio.sleep(100 * TRANSFERS_S)
        assert waiting.overdue() == []
    await asyncio.sleep(PATIENCE_S)
    assert waiting.overdue() == ["task"]


async def test_a_foreman_that_comes_again_keeps_its_excuses() -> None:
    waiting, lost, line = announcements(), Line(), Line()
    waiting.expect("task", lost)
    with lost.taken():
        await asyncio.sleep(PATIENCE_S)
    waiting.expect("task", line)
    with lost.taken():  # what comes by the line that was left is none
        await asyncio.sleep(PATIENCE_S - 1)
    assert waiting.overdue() == []
    await asyncio.sleep(1)
    assert waiting.overdue() == ["task"]
