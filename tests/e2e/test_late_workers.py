"""A worker behind a slow link, or stopped for a while, comes too late for its phase; nobody lies."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ec262.adapters.files.receipt_files import read_report
from tests.shell import COMMAND_S, Done, Network, Shell, line_of, read_until
from tests.slow_proxy import free_port, slow_proxy

FAR = "127.0.0.3"
"""Where the worker behind the slow link says that it is."""

ROW_BYTES = 8_000_000
BYTES_PER_S = 125_000.0
"""1 Mbit/s: the row takes 64 s, and is more than the kernel buffers. The others decide everything in a few seconds."""

LARGE_JOB = f"""
    import time
    import ec262

    @ec262.mapper
    def measure(_key, text):
        yield "size", len(text)

    @ec262.reducer
    def add_up(key, sizes):
        time.sleep(1)  # time enough for what comes late to arrive
        yield key, sum(sizes)

    data = {{1: "x" * {ROW_BYTES}}}
"""

SEVERAL_JOB = """
    import time
    import ec262

    @ec262.mapper
    def spread(number, _):
        for key in range(4):
            yield key, number

    @ec262.reducer
    def add_up(key, numbers):
        time.sleep(0.5)
        yield key, sum(numbers)

    data = {number: None for number in range(4)}
"""


@contextmanager
def joined(pair: Network, *flags: object) -> Iterator[subprocess.Popen[str]]:
    """A third worker beside two prompt ones; it leaves in good order."""
    worker = pair.start_worker(*flags)
    try:
        yield worker
    finally:
        pair.workers.remove(worker)
        worker.terminate()
        assert worker.wait(COMMAND_S) == 0


def nobody_differs(done: Done, report: Path) -> None:
    assert done.status == 0, done.stderr
    assert "Traceback" not in done.stderr
    tasks = read_report(report).won
    assert tasks
    assert [task for task in tasks if {vote.digest for vote in task.votes} != {task.digest}] == []


def test_a_worker_behind_a_slow_link_does_no_harm(shell: Shell, pair: Network) -> None:
    port = free_port("127.0.0.1", FAR)
    with (
        slow_proxy(host=FAR, port=port, bytes_per_s=BYTES_PER_S) as link,
        joined(pair, "-P", port, "--advertise", FAR) as worker,
    ):
        assert f"serves at {FAR}:{port}" in line_of(worker)
        before = link.relayed_bytes
        report = shell.folder / "report.json"
        job = shell.file("large.py", LARGE_JOB)
        flags = ("--discovery", pair.url, "--report", report, "--verify", "majority:3")
        done = shell.run("foreman", job, *flags)
        assert done.stdout == f'["size",{ROW_BYTES}]\n'
        nobody_differs(done, report)
        assert before < link.relayed_bytes < ROW_BYTES, "it was too late for the map phase, as this test means it to be"


@pytest.mark.parametrize(
    "tasks", [(), ("--map-tasks", 4, "--reduce-tasks", 4), ("--map-tasks", 4, "--reduce-tasks", 2)]
)
def test_a_worker_that_is_stopped_at_the_phase_change_does_no_harm(
    shell: Shell, pair: Network, tasks: tuple[object, ...]
) -> None:
    report = shell.folder / "report.json"
    job = shell.file("several.py", SEVERAL_JOB)
    with joined(pair) as worker:
        line_of(worker)
        worker.send_signal(signal.SIGSTOP)
        flags = ("--discovery", pair.url, "--report", report, "--verify", "majority:3", "-v")
        foreman = shell.start("foreman", job, *flags, *tasks)
        try:
            read_until(foreman.stderr, "reduce phase")
        finally:
            worker.send_signal(signal.SIGCONT)
        done = shell.wait(foreman)
    assert sorted(map(json.loads, done.stdout.splitlines())) == [[key, 6] for key in range(4)]
    nobody_differs(done, report)
