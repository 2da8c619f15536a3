"""Progress, as people and log files see it."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest

from ec262.adapters.terminal.progress_bar import LINE_INTERVAL_S, Bar, Lines, Silent, choose_progress
from ec262.domain.ports.progress import JobStatus
from ec262.domain.work.work import Phase

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "ec262")


def status(
    done: int, phase: Phase = Phase.MAP, note: str = "", total: int = 4, until: float | None = None
) -> JobStatus:
    return JobStatus(phase=phase, done=done, running=1, total=total, workers=3, credits=88, note=note, until=until)


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
    now[0] += 2 * LINE_INTERVAL_S
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
        "map: 2/4 tasks, 0.20 tasks/s, 0:10 left, 1 running, 3 workers, 88 credits left",
        "map: 2/4 tasks, 0.20 tasks/s, 0:10 left, 1 running, 3 workers, 88 credits left; 3 workers needed, 2 eligible",
        "map: 4/4 tasks, 1 running, 3 workers, 88 credits left",
        "reduce: 0/4 tasks, 1 running, 3 workers, 88 credits left",
        "reduce: 4/4 tasks, 1 running, 3 workers, 88 credits left",
    ]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_local_run_does_not_mention_credits(stream: io.StringIO) -> None:
    progress = choose_progress(quiet=False, clock=lambda: 0.0, stream=stream)
    progress.show(attrs.evolve(status(1), credits=None))
    progress.close()
    assert "1 running, 3 workers" in stream.getvalue()
    assert "credits" not in stream.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_short_job_of_many_is_not_shown(stream: io.StringIO) -> None:
    now = [100.0]
    progress = choose_progress(quiet=False, clock=lambda: now[0], stream=stream, late=True)
    progress.show(status(0))
    progress.show(status(4, note="waiting"))
    now[0] += LINE_INTERVAL_S - 0.1
    progress.show(status(4, Phase.REDUCE))
    progress.close()
    assert stream.getvalue() == ""


def test_a_long_job_of_many_has_no_more_lines_than_one_an_interval() -> None:
    now, stream = [100.0], io.StringIO()
    progress = choose_progress(quiet=False, clock=lambda: now[0], stream=stream, late=True)
    for phase in Phase:
        for done in range(5):
            progress.show(status(done, phase))
            now[0] += 0.4 * LINE_INTERVAL_S
    progress.close()
    assert [line.split(" tasks")[0] for line in stream.getvalue().splitlines()] == [
        "map: 3/4",
        "reduce: 1/4",
        "reduce: 4/4",
    ]


def test_a_long_job_of_many_has_a_bar_on_a_terminal() -> None:
    now, stream = [100.0], Terminal()
    progress = choose_progress(quiet=False, clock=lambda: now[0], stream=stream, late=True)
    progress.show(status(0))
    now[0] += LINE_INTERVAL_S
    progress.show(status(2))
    progress.close()
    assert "   map  50%" in stream.getvalue()


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
def test_a_wait_is_shown_with_the_time_of_day_when_it_ends(stream: io.StringIO) -> None:
    before = datetime.now().astimezone()
    progress = choose_progress(quiet=False, clock=lambda: 1000.0, stream=stream)
    progress.show(status(1, note="waiting for credits", until=1930.0))
    progress.close()
    told = re.search(r"; waiting for credits, until (\d\d:\d\d:\d\d) at the latest", stream.getvalue())
    assert told is not None
    ends = [before + timedelta(seconds=930 + late) for late in range(60)]
    assert told[1] in {f"{at:%H:%M:%S}" for at in ends}


def test_where_much_is_logged_a_terminal_gets_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ec262")
    stream = Terminal()
    progress = choose_progress(quiet=False, clock=lambda: 0.0, stream=stream)
    progress.show(status(4))
    progress.close()
    assert stream.getvalue() == "map: 4/4 tasks, 1 running, 3 workers, 88 credits left\n"


def final_lines(stream: Terminal) -> list[str]:
    """What is left on the screen: of each line what was written last."""
    return [line.rpartition("\r")[2] for line in stream.getvalue().split("\n") if line]


def test_the_bar_ends_with_the_number_of_tasks_that_the_phase_turned_out_to_have() -> None:
    stream = Terminal()
    bar = Bar(stream, lambda: 0.0)
    for done, total in [(0, 33), (2, 33), (2, 4), (3, 4), (4, 4)]:
        bar.show(status(done, total=total))
    bar.show(status(0, Phase.REDUCE, total=2))
    bar.show(status(1, Phase.REDUCE, total=3))
    bar.close()
    mapped, reduced = final_lines(stream)
    assert mapped.startswith("   map 100%")
    assert " 4/4 [00:00, 00:00 left, " in mapped
    assert "task/s" in mapped
    assert reduced.startswith("reduce  33%")
    assert " 1/3 [00:00, 00:00 left, " in reduced


def test_a_phase_without_tasks_is_not_shown() -> None:
    terminal, file = Terminal(), io.StringIO()
    for progress in (Bar(terminal, lambda: 0.0), Lines(file, lambda: 0.0)):
        progress.show(status(4))
        progress.show(status(0, Phase.REDUCE, total=0))
        progress.close()
    assert "reduce" not in terminal.getvalue() + file.getvalue()
    assert "map 100%" in final_lines(terminal)[0]
    assert file.getvalue() == "map: 4/4 tasks, 1 running, 3 workers, 88 credits left\n"


def test_time_left_is_in_hours_if_it_takes_hours() -> None:
    now, stream = [0.0], io.StringIO()
    progress = Lines(stream, lambda: now[0])
    progress.show(status(0, total=4001))
    now[0] = 10.0
    progress.show(status(1, total=4001))
    assert "1/4001 tasks, 0.10 tasks/s, 11:06:40 left, " in stream.getvalue()


@pytest.mark.parametrize(("stream", "imported"), [("io.StringIO()", False), ("Terminal()", True)])
def test_the_bars_library_is_imported_only_for_a_bar(stream: str, imported: bool) -> None:  # noqa: FBT001 - parametrized
    script = f"""
import io, sys
import ec262.entrypoints.foreman, ec262.entrypoints.foreman.session
from tests.unit.adapters.terminal.test_progress import Terminal, choose_progress, status
progress = choose_progress(quiet=False, clock=lambda: 0.0, stream={stream})
progress.show(status(1))
progress.close()
print("tqdm" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == f"{imported}\n", done.stderr
