"""The worker's command as a process of its own, with real discovery, TCP and sandbox."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path

import attrs
import pytest

from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
from ec262.adapters.jobs.local_runtime import local_python
from ec262.adapters.jobs.pickling import pickle_functions
from ec262.adapters.tcp.dialer import TcpDialer
from ec262.domain.errors import ConfigurationError, PeerLost
from ec262.domain.foreman.data.partition import encode_row, rows_payload
from ec262.domain.protocol.foreman_calls import BoughtReplica, BuyTasks, PoolQuery, Verdict, VerdictQuery
from ec262.domain.protocol.messages import Assign, Committed, Deliver, Failed, Hello
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.protocol.wire import encode
from ec262.domain.verification.task_state import TaskState
from ec262.entrypoints.discovery.bootstrap_discovery import build_discovery_app
from ec262.entrypoints.shared.settings import DiscoverySettings
from ec262.entrypoints.worker.__main__ import main, serve
from ec262.services.foreman.workers.worker_link import LinkPolicy, WorkerLink
from tests.adversaries import write_piecewise
from tests.live_discovery import served
from tests.processes import alive, busy_child, family, peak_mib, unburied
from tests.work_messages import compute_message

FOREMAN = "foreman-" + "f" * 40
REQUIREMENT = Requirement(python=local_python())

PATIENCE_S = 60.0
"""For what happens soon, except on a machine that is very busy."""

BUSY_S = 0.1
"""So much processor time takes a sandbox's process only for a task."""


def keep_busy(key: str, cpu_s: float) -> Iterator[tuple[str, float]]:
    """Take that much processor time, whatever the machine's speed."""
    while time.process_time() < cpu_s:
        pass
    yield key, cpu_s


def add_up(key: str, values: tuple[float, ...]) -> Iterator[tuple[str, float]]:
    yield key, sum(values)


@attrs.frozen(kw_only=True)
class WorkerProcess:
    process: subprocess.Popen[str]

    def line(self) -> str:
        """Wait for the line that tells that the worker is in the pool."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def family(self) -> list[int]:
        """The worker's process and its descendants."""
        return family(self.process.pid)

    async def computing(self) -> int:
        """Wait until a task is being computed; return the process that does it."""
        async with asyncio.timeout(PATIENCE_S):
            while (child := busy_child(self.process.pid, BUSY_S)) is None:  # noqa: ASYNC110 - another process does not set events
                await asyncio.sleep(0.01)
        return child

    def end(self) -> tuple[int, str]:
        """Wait for the end; return exit status and standard error."""
        _, said = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, said


Start = Callable[..., WorkerProcess]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    database = tmp_path_factory.mktemp("discovery") / "discovery.sqlite"
    app = build_discovery_app(DiscoverySettings(database=f"sqlite:///{database}"), accounts={FOREMAN: 1000})
    with served(app) as url:
        yield url


@pytest.fixture
def start(url: str, tmp_path: Path) -> Iterator[Start]:
    started: list[WorkerProcess] = []

    def start(*arguments: str, discovery: str = url) -> WorkerProcess:
        command = [sys.executable, "-m", "ec262.entrypoints.worker", "--credentials", str(tmp_path)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EC262_")}
        process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1", "--discovery", discovery, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | {"TMPDIR": str(tmp_path)},
        )
        started.append(WorkerProcess(process=process))
        return started[-1]

    yield start
    for worker in started:
        worker.process.kill()
        worker.process.communicate()


class Foreman:
    """As much of a foreman as a test needs: one task of one replica."""

    def __init__(self, url: str) -> None:
        self.discovery = HttpDiscovery(url, token=FOREMAN, patience_s=5)
        self.task = ""
        self.replica: BoughtReplica
        self.link: WorkerLink

    async def buy(self) -> None:
        """Buy a task, and connect to its worker: not to one that another test has killed, whose lease still runs."""
        dead: tuple[str, ...] = ()
        while True:
            command = BuyTasks(
                purchase=os.urandom(16).hex(),
                tasks=1,
                rule="majority:1",
                requirement=REQUIREMENT,
                deadline_s=2 * PATIENCE_S,
                avoid=dead,
            )
            [bought] = (await self.discovery.buy(command)).tasks
            [self.replica] = bought.replicas
            self.task = bought.task
            try:
                self.link = await WorkerLink.open(TcpDialer(), self.replica.address, LinkPolicy(release="test"))
            except PeerLost:
                assert self.replica.worker not in dead
                dead += (self.replica.worker,)
            else:
                return

    async def compute(self, cpu_s: float) -> Committed | Failed:
        functions = pickle_functions({"mapper": keep_busy, "reducer": add_up, "combiner": None})
        rows = rows_payload([encode_row("row", cpu_s)])
        work = compute_message(self.task, functions=functions.data, rows=rows)

        assign = Assign(task=self.task, secret=self.replica.secret)
        return await self.link.compute(assign, nullcontext(work), deadline_s=2 * PATIENCE_S)

    async def verdict(self) -> Verdict:
        [verdict] = (await self.discovery.verdicts(VerdictQuery(tasks=(self.task,)))).verdicts
        return verdict

    async def pool(self) -> int:
        return (await self.discovery.pool(PoolQuery(requirement=REQUIREMENT))).workers

    async def pool_is_empty(self) -> None:
        """Wait until the worker has left the pool."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.pool():  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.02)


@asynccontextmanager
async def foreman_at(url: str) -> AsyncIterator[Foreman]:
    foreman = Foreman(url)
    try:
        await foreman.buy()
        try:
            yield foreman
        finally:
            await foreman.link.close()
    finally:
        await foreman.discovery.close()


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix != ".token"]


async def test_sigterm_while_computing_leaves_finishes_delivers_and_ends(
    url: str, start: Start, tmp_path: Path
) -> None:
    worker = start("-P", "0")
    assert await asyncio.to_thread(worker.line)
    async with foreman_at(url) as foreman:
        computing = asyncio.create_task(foreman.compute(1.0))
        child = await worker.computing()
        members = worker.family()
        os.kill(child, signal.SIGSTOP)  # so that it still computes when the worker has left, however long that takes
        worker.process.send_signal(signal.SIGTERM)
        await foreman.pool_is_empty()
        assert not computing.done()
        os.kill(child, signal.SIGCONT)
        assert await computing == Committed(task=foreman.task)
        verdict = await foreman.verdict()
        assert verdict.state is TaskState.WON
        delivered = await foreman.link.fetch(Deliver(task=foreman.task, secret=verdict.winners[0].delivery_secret))
        assert delivered.ciphertext
    assert await asyncio.to_thread(worker.end) == (0, "")
    assert alive(members) == []
    assert left_behind(tmp_path) == []


async def test_a_second_ctrl_c_ends_at_once(url: str, start: Start, tmp_path: Path) -> None:
    worker = start("-P", "0")
    assert await asyncio.to_thread(worker.line)
    async with foreman_at(url) as foreman:
        computing = asyncio.create_task(foreman.compute(2 * PATIENCE_S))
        await worker.computing()
        members = worker.family()
        worker.process.send_signal(signal.SIGINT)
        await foreman.pool_is_empty()
        assert worker.process.poll() is None
        worker.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(worker.end) == (0, "")  # long before the task would have ended
        computing.cancel()
        await asyncio.wait([computing])
    assert alive(members) == []
    assert left_behind(tmp_path) == []


def test_ctrl_c_ends_an_idle_worker(start: Start) -> None:
    worker = start("-v", "-P", "0")
    assert worker.line()
    members = worker.family()
    worker.process.send_signal(signal.SIGINT)
    status, said = worker.end()
    assert status == 0
    assert "in the pool" in said
    assert "left the pool" in said
    assert "Traceback" not in said
    assert alive(members) == []


def test_a_worker_that_is_killed_leaves_no_process(start: Start) -> None:
    worker = start("-P", "0")
    assert worker.line()
    members = worker.family()
    worker.process.kill()
    worker.process.wait()
    assert unburied(members) == []


def test_a_taken_port_is_reported(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, said = start("-P", str(port)).end()
    assert status == 2
    assert said == (
        f"ec262: cannot listen on 127.0.0.1 port {port} (Address already in use): choose another port with -P\n"
    )


def test_a_worker_keeps_its_account_from_run_to_run(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    lines = []
    for _ in range(2):
        worker = start("-P", port)
        lines.append(worker.line())
        worker.process.send_signal(signal.SIGTERM)
        assert worker.end() == (0, "")
    assert lines[0] == lines[1]


def test_discovery_is_waited_for_with_one_line(start: Start) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))  # and does not listen: no other process can
        worker = start("-P", "0", discovery=f"http://127.0.0.1:{mute.getsockname()[1]}")
        assert worker.process.stderr is not None
        assert "discovery is unavailable" in worker.process.stderr.readline()
        time.sleep(0.8)  # for two more attempts
        worker.process.send_signal(signal.SIGTERM)
        status, said = worker.end()
    assert status == 0
    assert "discovery is unavailable" not in said


def test_a_worker_that_nobody_can_reach_is_reported(start: Start) -> None:
    status, said = start("-P", "0", "--advertise", "127.0.0.2").end()
    assert status == 2
    assert "nobody with the registered certificate answers at 127.0.0.2" in said
    assert "Traceback" not in said


def test_a_missing_package_is_reported(start: Start) -> None:
    status, said = start("-P", "0", "--allow", "no_such_package").end()
    assert status == 2
    assert "no_such_package" in said
    assert "Traceback" not in said


def test_usage(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EC262_DISCOVERY", raising=False)
    monkeypatch.setattr(
        "ec262.entrypoints.shared.logs.configure_logging", lambda _arguments: None
    )  # it is the whole process's
    assert main([]) == 2
    assert "no discovery service is configured: give --discovery URL" in capsys.readouterr().err
    assert main(["--discovery", "not a URL"]) == 2
    with pytest.raises(SystemExit) as version:
        main(["--version"])
    assert version.value.code == 0
    assert capsys.readouterr().out.startswith("ec262 ")


def test_a_setting_that_does_not_exist_is_reported() -> None:
    with pytest.raises(ConfigurationError, match="no setting named slotz"):
        serve({"port": 0, "slotz": 3})


# --- memory ---------------------------------------------------------------------------------------------------------

CONNECTIONS = 8
UNFINISHED_BYTES = 50 << 20
GROWTH_MIB = 200.0
"""One frame of 100 MiB, of which half has arrived, and some room. All of them would be 400 MiB."""


async def test_one_assignment_on_many_connections_does_not_fill_the_memory(url: str, start: Start) -> None:
    worker = start("-P", "0")
    assert "serves at" in worker.line()
    before = peak_mib(worker.process.pid)
    async with foreman_at(url) as foreman, asyncio.timeout(PATIENCE_S):
        header, *payload = encode(compute_message(foreman.task, rows=bytes(2 * UNFINISHED_BYTES)))
        half = (header, b"".join(payload)[:UNFINISHED_BYTES])
        proof = Assign(task=foreman.task, secret=foreman.replica.secret)
        connections = [
            await TcpDialer().connect(foreman.replica.address, timeout_s=PATIENCE_S) for _ in range(CONNECTIONS)
        ]
        for connection in connections:
            for message in (Hello(versions=(3,), release="evil"), proof):
                await connection.send(message, timeout_s=PATIENCE_S)
                await connection.receive(max_payload_bytes=0, timeout_s=PATIENCE_S)
        sending = [asyncio.create_task(write_piecewise(connection, half)) for connection in connections]
        for each in asyncio.as_completed(sending):
            with suppress(OSError):  # the worker has ended an older connection
                await each
                break
        else:
            pytest.fail("no connection took the first half of a frame")
        await asyncio.sleep(1)  # now the others' would arrive
        grown = peak_mib(worker.process.pid) - before
        for connection in connections:
            connection._writer.transport.abort()
        await asyncio.gather(*sending, return_exceptions=True)
    assert 0 < grown < GROWTH_MIB
