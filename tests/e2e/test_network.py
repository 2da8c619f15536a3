"""Separately started discovery, workers and foremen: who may end, and what happens to the rest."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

from tests.processes import family, unburied
from tests.shell import COMMAND_S, Done, Network, Shell, line_of, pairs, read_until
from tests.slow_proxy import free_port
from tests.waits import wait_until

SQUARES_JOB = """
    import time
    import ec262

    @ec262.mapper
    def square(number, seconds):
        time.sleep(seconds)
        yield number % 3, number ** 2

    @ec262.reducer
    def add_up(remainder, squares):
        yield remainder, sum(squares)

    data = {number: SECONDS for number in range(6)}
"""
"""Work that takes some time and no processor."""

SQUARES = {remainder: sum(n**2 for n in range(6) if n % 3 == remainder) for remainder in range(3)}


def squares_job(shell: Shell, seconds: float = 1.0) -> Path:
    return shell.file("squares.py", SQUARES_JOB.replace("SECONDS", str(seconds)))


def start_squares(shell: Shell, town: Network) -> subprocess.Popen[str]:
    """Start a job; return when a task of it is under way."""
    before = len(town.log())
    process = shell.start("foreman", squares_job(shell), "--discovery", town.url, "-v")
    wait_until(lambda: "accepted (map" in town.log()[before:])
    return process


def in_the_pool(town: Network) -> int:
    """Return how many workers think that they are, going by what they told."""
    return town.log().count("in the pool as") - town.log().count("discovery is unavailable")


def no_lease_lasts(town: Network) -> bool:
    with closing(sqlite3.connect(town.database.removeprefix("sqlite:///"))) as database:
        (last,) = database.execute("SELECT max(expires_at) FROM members").fetchone()
    return float(last) < time.time()


def squares_of(done: Done) -> dict[int, int]:
    assert done.status == 0, done.stderr
    return {int(key): value for key, value in pairs(done.stdout).items()}


def test_discovery_is_killed_and_comes_back_in_the_middle(shell: Shell, town: Network) -> None:
    foreman = start_squares(shell, town)
    before = len(town.log())
    town.kill_discovery()
    wait_until(lambda: "discovery is unavailable" in town.log()[before:])
    town.start_discovery()
    assert squares_of(shell.wait(foreman)) == SQUARES


def test_workers_find_back_to_a_discovery_that_was_away_for_long(shell: Shell, town: Network) -> None:
    wait_until(lambda: in_the_pool(town) == len(town.workers))
    town.kill_discovery()
    wait_until(lambda: in_the_pool(town) == 0)
    wait_until(lambda: no_lease_lasts(town))
    town.start_discovery()
    wait_until(lambda: in_the_pool(town) == len(town.workers))
    assert squares_of(shell.run("foreman", squares_job(shell), "--quiet", "--discovery", town.url)) == SQUARES


def test_foremen_end_in_the_middle_and_are_missed_by_nobody(shell: Shell, town: Network) -> None:
    ends = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
    job = squares_job(shell, seconds=8.0)
    flags = ("--discovery", town.url, "-V", "--credentials")
    foremen = {number: shell.start("foreman", job, *flags, number.name) for number in ends}
    for foreman in foremen.values():
        read_until(foreman.stderr, "bought 6 of 6 tasks")
    for number, foreman in foremen.items():
        foreman.send_signal(number)
    for number, foreman in foremen.items():
        done = shell.wait(foreman)
        assert (done.status, done.stdout) == (ends[number], "")
        assert "Traceback" not in done.stderr
    good = shell.run("foreman", squares_job(shell), "--quiet", "--discovery", town.url)
    assert squares_of(good) == SQUARES


def test_a_worker_is_stopped_in_the_middle(shell: Shell, town: Network) -> None:
    foreman = start_squares(shell, town)
    leaving = town.workers.pop()
    leaving.send_signal(signal.SIGTERM)
    assert squares_of(shell.wait(foreman)) == SQUARES
    assert leaving.wait(COMMAND_S) == 0
    town.start_workers(1)


def test_a_worker_is_killed_in_the_middle(shell: Shell, town: Network) -> None:
    foreman = start_squares(shell, town)
    victim = town.workers.pop()
    relatives = family(victim.pid)
    assert len(relatives) > 1  # its sandbox is a process of its own
    victim.kill()
    assert squares_of(shell.wait(foreman)) == SQUARES
    victim.wait()
    assert unburied(relatives) == []
    assert town.shell.left() == []


def test_a_worker_of_another_python_is_not_used_and_named(shell: Shell) -> None:
    network = Network(shell, grant=12)
    shell.file(
        "old_worker.py",
        """
        import attrs
        from ec262.adapters.jobs import local_runtime

        real = local_runtime.runtime_class

        def old(sandbox):
            mine = real(sandbox)
            return attrs.evolve(mine, python=attrs.evolve(mine.python, magic=3394, version="3.7"))

        local_runtime.runtime_class = old
        import ec262
        ec262.run_worker(0, listen="127.0.0.1")
        """,
    )
    worker = shell.start("old_worker.py", EC262_DISCOVERY=network.url)
    assert "serves at" in line_of(worker)
    done = shell.run("foreman", squares_job(shell), "--quiet", "--patience", "0.5", "--discovery", network.url)
    assert (done.status, done.stdout) == (1, "")
    assert "3 needed, 0 available (1 runs cpython 3.7)" in done.stderr
    assert "Traceback" not in done.stderr
    network.workers.append(worker)
    assert network.end(signal.SIGTERM) == [0, 0]


def test_two_machines_that_share_credentials_hear_of_each_other(shell: Shell) -> None:
    network = Network(shell, grant=12)
    homes = ("127.0.0.2", "127.0.0.3")
    port = free_port(*homes)
    for home in homes:
        network.start_worker("-P", port, "--listen", home, "--advertise", home, "--credentials", "shared", "--lease", 2)
    told = "but a worker at {}:{} uses the same account: give each machine its own credentials"
    wait_until(lambda: all(told.format(home, port) in network.log() for home in homes))
    assert network.end(signal.SIGTERM) == [0, 0, 0]


def test_a_restarted_worker_is_not_taken_for_a_second_one(shell: Shell) -> None:
    network = Network(shell, grant=12)
    for _ in range(2):
        worker = network.start_worker("-P", free_port("127.0.0.1"), "--credentials", "own")
        assert "serves at" in line_of(worker)
        worker.kill()
        worker.wait()
        network.workers.remove(worker)
    assert "same account" not in network.log()
    assert network.end(signal.SIGTERM) == [0]


def test_workers_serve_an_ipv6_network_and_a_wrong_listen_address_is_reported(shell: Shell) -> None:
    if not has_ipv6():
        return  # nothing to serve; what is told is tested without it, too
    discovery = shell.start("discovery", "--host", "::1", "--port", 0, "--database", "sqlite:///six.sqlite")
    url = line_of(discovery).rpartition(" ")[2]
    worker = shell.start("worker", "-P", 0, "--discovery", url)
    assert re.search(r"serves at ::1:\d+, registered with", line_of(worker))
    done = shell.run("worker", "-P", 0, "--discovery", url, "--listen", "127.0.0.1")
    assert done.status == 2
    assert "Does the worker listen on IPv4 only? Then start it with --listen ::" in done.stderr
    for process in (worker, discovery):
        process.send_signal(signal.SIGTERM)
        assert shell.wait(process).status == 0


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
