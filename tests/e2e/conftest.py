"""A fresh user, and a system of separately started processes; neither may leave anything behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from ec262.adapters.machine.processes import PR_SET_CHILD_SUBREAPER, _prctl, reap_orphans
from tests.processes import children, orphans
from tests.shell import Done, Foreman, Network, Shell

_shells: list[Shell] = []


@contextmanager
def _spotless(folder: Path) -> Iterator[Shell]:
    """Lend a shell; its commands must have left no process and no temporary file."""
    before = set(children(os.getpid()))  # a database server of the tests, say
    shell = Shell(folder)
    _shells.append(shell)
    try:
        yield shell
    finally:
        shell.close()
        known = {process.pid for each in _shells for process in each.started}
        left = orphans(known | before), shell.left()
        _shells.remove(shell)
    assert left == ([], [])


@contextmanager
def _network(
    shell: Shell, *, grant: int, end_with: signal.Signals, workers: int = 4, database: str = "", **environment: str
) -> Iterator[Network]:
    """Lend a network with some workers; all must end in good order."""
    network = Network(shell, grant=grant, database=database, **environment)
    network.start_workers(workers)
    yield network
    statuses = network.end(end_with)
    log = (shell.folder / "workers.log").read_text() + (shell.folder / "discovery.log").read_text()
    assert "Traceback" not in log
    assert " ERROR " not in log
    assert statuses == [0] * len(network.workers) + [130 if end_with == signal.SIGINT else 0]


@pytest.fixture(scope="session")
def subreaper() -> Iterator[None]:
    """Inherit the processes that commands leave behind."""
    reap_orphans()
    yield
    _prctl(PR_SET_CHILD_SUBREAPER, 0)


@pytest.fixture
def shell(tmp_path: Path, subreaper: None) -> Iterator[Shell]:
    """A user who has nothing running."""
    with _spotless(tmp_path) as shell:
        yield shell


@pytest.fixture
def found_town(shell: Shell) -> Callable[[str], AbstractContextManager[Network]]:
    """Found a network of the test's own, over a database of its choice."""

    def found(database: str) -> AbstractContextManager[Network]:
        return _network(shell, grant=1000, end_with=signal.SIGTERM, database=database, EC262_LEASE="3", EC262_SLOTS="4")

    return found


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory, subreaper: None) -> Iterator[Network]:
    """A network that gives newcomers 12 credits, for all tests that break nothing."""
    folder = tmp_path_factory.mktemp("network")
    with _spotless(folder) as shell, _network(shell, grant=12, end_with=signal.SIGTERM) as network:
        yield network


@pytest.fixture
def foreman(shell: Shell, network: Network) -> Foreman:
    """Run the foreman's command as somebody with 12 credits."""

    def run(*arguments: object, redirect: str = "", **environment: str) -> Done:
        command = ("foreman", "--quiet", "--discovery", network.url, *arguments)
        return shell.run(*command, redirect=redirect, **environment)

    return run


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, subreaper: None) -> Iterator[Network]:
    """A network that is rich, and may be hurt: workers come back to discovery within seconds, and have slots enough for
    all the tasks that foremen have bought and then do not hand out."""
    folder = tmp_path_factory.mktemp("town")
    with (
        _spotless(folder) as shell,
        _network(shell, grant=1000, end_with=signal.SIGINT, EC262_LEASE="3", EC262_SLOTS="32") as town,
    ):
        yield town


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, subreaper: None) -> Iterator[Network]:
    """A network of two workers, to which a test adds a third for its own time."""
    folder = tmp_path_factory.mktemp("pair")
    with _spotless(folder) as shell, _network(shell, grant=100, end_with=signal.SIGTERM, workers=2) as pair:
        yield pair
