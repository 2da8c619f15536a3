"""Progress, as people and log files see it."""

from __future__ import annotations

import io
import re
from datetime import datetime, timedelta

import pytest

from ec262.adapters.progress import LINE_INTERVAL_S, Bar, Lines, Silent, choose_progress
from ec262.domain.job import Phase
from ec262.domain.ports.progress import JobStatus


def status(done: int, phase: Phase = Phase.MAP, note: str = "", until: float | None = None) -> JobStatus:
    return JobStatus(phase=phase, done=done, running=1, total=4, workers=3, credits=88, note=note, until=until)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_quiet_shows_nothing() -> None:
    progress = choose_progress(quiet=True, clock=lambda: 0.0)
    assert isinstance(progress, Silent)
    progress.show(status(1))
    progress.close()


def test_lines_come_at_a_phases_begin_and_then_now_and_again() -> None:
    now, stream = [100.0], io.StringIO()
    progress = choose_progress(quiet=False, clock=lambda: now[0], stream=stream)
    assert isinstance(progress, Lines)
    progress.show(status(0))
    progress.show(status(1))
    now[0] += LINE_INTERVAL_S
    progress.show(status(2))
    progress.show(status(2, note="3 workers needed, 2 eligible"))
    progress.show(status(3))
    progress.show(status(4))
    progress.show(status(0, Phase.REDUCE))
    progress.show(status(4, Phase.REDUCE))
    progress.close()
    progress.close()
    assert stream.getvalue().splitlines() == [
        "map: 0/4 tasks, 1 running, 3 workers, 88 credits left",
        "map: 2/4 tasks, 1 running, 3 workers, 88 credits left",
        "map: 2/4 tasks, 1 running, 3 workers, 88 credits left; 3 workers needed, 2 eligible",
        "map: 4/4 tasks, 1 running, 3 workers, 88 credits left",
        "reduce: 0/4 tasks, 1 running, 3 workers, 88 credits left",
        "reduce: 4/4 tasks, 1 running, 3 workers, 88 credits left",
    ]


def test_a_terminal_gets_a_bar_for_each_phase() -> None:
    stream = Terminal()
    progress = choose_progress(quiet=False, clock=lambda: 0.0, stream=stream)
    assert isinstance(progress, Bar)
    progress.show(status(0))
    progress.show(status(4))
    progress.show(status(2, Phase.REDUCE))
    progress.close()
    progress.close()
    shown = stream.getvalue()
    assert "   map 100%" in shown
    assert "reduce  50%" in shown
    assert "3 workers, 88 credits left" in shown
    assert shown.endswith("\n")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_wait_is_told_with_the_time_of_day_at_which_it_ends(stream: io.StringIO) -> None:
    before = datetime.now().astimezone()
    progress = choose_progress(quiet=False, clock=lambda: 1000.0, stream=stream)
    progress.show(status(1, note="waiting for credits", until=1930.0))
    progress.close()
    told = re.search(r"; waiting for credits, until (\d\d:\d\d:\d\d) at the latest", stream.getvalue())
    assert told is not None
    ends = [before + timedelta(seconds=930 + late) for late in range(60)]
    assert told[1] in {f"{at:%H:%M:%S}" for at in ends}
