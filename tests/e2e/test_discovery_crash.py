"""Discovery is killed again and again in the middle of a job: the result is right, and no credit is lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.shell import Network, Shell, pairs
from tests.waits import wait_until

Found = Callable[[str], AbstractContextManager[Network]]

JOB = """
    import time
    import ec262

    @ec262.mapper
    def square(number, seconds):
        time.sleep(seconds)
        yield number % 5, number ** 2

    @ec262.reducer
    def add_up(remainder, squares):
        yield remainder, sum(squares)

    data = {number: 0.3 for number in range(30)}
"""

SQUARES = {remainder: sum(n**2 for n in range(30) if n % 5 == remainder) for remainder in range(5)}
KILLS, ENOUGH = 3, 2


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh database; empty for a file beside the rest."""
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


def until_a_result_is_committed(town: Network, foreman: subprocess.Popen[str]) -> None:
    """Wait until discovery has taken one since now, or the job has ended."""
    before = len(town.log())
    wait_until(lambda: ": committed (" in town.log()[before:] or foreman.poll() is not None)


def test_a_job_outlives_discovery_that_is_killed(database: str, shell: Shell, found_town: Found) -> None:
    with found_town(database) as town:
        foreman = shell.start("foreman", shell.file("squares.py", JOB), "--discovery", town.url, "--quiet")
        killed = 0
        while foreman.poll() is None and killed < KILLS:
            until_a_result_is_committed(town, foreman)
            town.kill_discovery()
            killed += foreman.poll() is None
            town.start_discovery()
        done = shell.wait(foreman)
        assert killed >= ENOUGH
        assert done.status == 0, done.stderr
        assert {int(key): value for key, value in pairs(done.stdout).items()} == SQUARES
        # Four workers and a foreman opened accounts; whatever moved, their grants are all that there is.
        audit = shell.run("discovery_admin", "audit", "--json", "--database", town.database)
        assert audit.status == 0, audit.stderr
        assert json.loads(audit.stdout)["granted"] == 5 * 1000
