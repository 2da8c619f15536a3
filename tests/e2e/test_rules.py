"""Jobs under each verification rule, with a real liar among the workers: by command line, each in its own process."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.shell import Done, Network, Shell, line_of, pairs

JOB = """
    import ec262

    @ec262.mapper
    def square(number, _value):
        yield number % 7, number ** 2

    @ec262.reducer
    def add_up(remainder, squares):
        yield remainder, sum(squares)

    data = dict.fromkeys(range(60))
"""

RESULT = {remainder: sum(n**2 for n in range(60) if n % 7 == remainder) for remainder in range(7)}

LIAR = """
    from ec262.adapters.ciphers.aes_siv import AesSivCipher
    from ec262.domain.work.outcome import Pairs, encode_outcome

    seal = AesSivCipher.encrypt

    def lie(self, plaintext, *, key, task, label):
        claim = encode_outcome(Pairs(pairs=((1, 262),)))
        return seal(self, claim if label == "result" else plaintext, key=key, task=task, label=label)

    AesSivCipher.encrypt = lie
    import ec262
    ec262.run_worker(0, listen="127.0.0.1")
"""


@attrs.frozen(kw_only=True)
class Spent:
    """What a job bought, by its log."""

    tasks: int
    at_first: int
    added: int

    @property
    def a_task(self) -> float:
        """Executions a task."""
        return (self.at_first + self.added) / self.tasks


def spent(done: Done) -> Spent:
    """Check a job's result, and count what it bought."""
    assert done.status == 0, done.stderr
    assert {int(key): value for key, value in pairs(done.stdout).items()} == RESULT
    bought = re.findall(r"bought (\d+) of \d+ tasks, (\d+) replicas", done.stderr)
    added = re.findall(r"added (\d+) workers to", done.stderr)
    return Spent(
        tasks=sum(int(tasks) for tasks, _ in bought),
        at_first=sum(int(price) for _, price in bought),
        added=sum(map(int, added)),
    )


@pytest.fixture
def liars_town(shell: Shell) -> Iterator[Network]:
    """Five honest workers and a liar."""
    network = Network(shell, grant=5000, EC262_SLOTS="4")
    liar = shell.start(shell.file("liar.py", LIAR), EC262_DISCOVERY=network.url, EC262_SLOTS="4")
    assert "serves at" in line_of(liar)
    network.workers.append(liar)
    network.start_workers(5)
    yield network
    assert network.end(signal.SIGTERM) == [0] * 7


def run(shell: Shell, network: Network, rule: str, *flags: str) -> Spent:
    return spent(shell.run("foreman", job(shell), "-V", "--discovery", network.url, "--verify", rule, *flags))


def job(shell: Shell) -> Path:
    return shell.file("squares.py", JOB)


def test_a_quorum_of_two_costs_two_and_a_little_more_for_a_liar(shell: Shell, liars_town: Network) -> None:
    cost = run(shell, liars_town, "quorum:2")
    assert cost.at_first == 2 * cost.tasks
    assert 1 <= cost.added < cost.tasks


def test_reputation_from_one_job_makes_the_next_one_cheaper(shell: Shell, liars_town: Network) -> None:
    tasks = ("--map-tasks", "20")  # as many in both jobs, however fast this machine is now
    first = run(shell, liars_town, "error:1e-2", *tasks)
    second = run(shell, liars_town, "error:1e-2", *tasks)
    assert first.a_task > 2
    assert second.a_task < 0.8 * first.a_task


def test_one_commitment_decides_only_in_the_embedded_system(shell: Shell) -> None:
    cost = spent(shell.run("foreman", job(shell), "-V", "--verify", "none"))
    assert (cost.at_first, cost.added) == (cost.tasks, 0)
    refused = shell.run("foreman", job(shell), "--verify", "none", "--discovery", "http://127.0.0.1:1")
    assert (refused.status, refused.stdout) == (2, "")
    assert "only with the embedded system" in refused.stderr


def test_a_dry_run_shows_the_initial_price(shell: Shell) -> None:
    plan = shell.run("foreman", job(shell), "--dry-run", "--verify", "error:1e-5")
    assert plan.status == 0, plan.stderr
    assert re.search(r"9 replicas each at first\n", plan.stdout)
