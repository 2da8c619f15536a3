"""Tasks sized by time, as users see it: on the embedded system, with rows that take what they like."""

from __future__ import annotations

import json
from pathlib import Path

from tests.shell import Shell, pairs

JOB = """
import time
import ec262

data = {{number: {pause} for number in range({rows})}}

@ec262.mapper
def mapper(number, pause_s):
    time.sleep(pause_s)
    yield number % 3, number

@ec262.reducer
def reducer(key, numbers):
    yield key, list(numbers)
"""


def run(shell: Shell, *flags: object, rows: int, pause: str) -> int:
    """Run a job, check its result, and return how many map tasks it had, as its receipt tells."""
    job = shell.file("job.py", JOB.format(rows=rows, pause=pause))
    done = shell.run("foreman", "--quiet", job, "--report", "receipt.json", "--output", "out.jsonl", *flags)
    assert (done.status, done.stdout) == (0, ""), done.stderr
    result = pairs((shell.folder / "out.jsonl").read_text(encoding="utf-8"))
    assert result == {key: list(range(key, rows, 3)) for key in range(3)}
    return map_tasks(shell.folder / "receipt.json")


def map_tasks(receipt: Path) -> int:
    tasks = json.loads(receipt.read_text(encoding="utf-8"))["tasks"]
    return sum(task["name"].startswith("map task") for task in tasks)


def test_slow_rows_make_many_tasks_and_quick_ones_few(shell: Shell) -> None:
    wild = "0.8 if number % 50 == 7 else 0.01"
    assert run(shell, rows=400, pause=wild) >= 8, "10 s of work, a second a task"
    assert run(shell, rows=2000, pause="0.0") <= 6
    assert run(shell, "--map-tasks", "3", rows=400, pause="0.0") == 3


def test_a_dry_run_says_that_the_number_is_not_known(shell: Shell) -> None:
    job = shell.file("job.py", JOB.format(rows=400, pause="0.0"))
    done = shell.run("foreman", "--quiet", job, "--dry-run")
    assert done.status == 0, done.stderr  # a busy machine may have been waited for, and that is told there
    assert done.stdout.startswith("3 map tasks and 1 reduce tasks, 3 replicas each\n")
    assert "map tasks are sized by the time that rows take" in done.stdout
