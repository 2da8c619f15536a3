"""The Linux sandbox against jobs that mean harm. Judged by canaries outside, not by what the sandbox says."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio

from ec262.adapters.sandbox.linux.sandbox import LinuxSandbox
from ec262.domain.errors import SandboxCrashed, SandboxError, SandboxLimitExceeded
from ec262.domain.job import Limits, Phase, Work
from ec262.domain.outcome import decode_outcome
from tests.canaries import Scene, has
from tests.hostile_jobs import PAYLOADS
from tests.sandbox_jobs import assert_serves, encoded, failure_of, map_work, pairs_of, zygote_of

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox needs Linux"),
    pytest.mark.asyncio(loop_scope="module"),
]

LIMITS = Limits(cpu_s=1, wall_s=0.4, memory_bytes=128 << 20, output_bytes=1 << 20, log_bytes=1 << 14)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[LinuxSandbox]:
    box = LinuxSandbox()
    await box.start()
    yield box
    await box.close()


async def attack(sandbox: LinuxSandbox, scene: Scene, name: str, limits: Limits = LIMITS) -> Any:
    """Run a payload, see that nothing was harmed; return what came of it, a result or an error."""
    zygote = zygote_of(sandbox)
    work = map_work(PAYLOADS[name], [("row", scene.target(zygote))])
    started = time.monotonic()
    result: Any
    try:
        result = await sandbox.run(work, limits)
        told = result.outcome.decode(errors="replace") + result.log.decode()
        with suppress(Exception):
            told += str(decode_outcome(result.outcome))
    except SandboxError as error:
        result, told = error, str(error)
    assert time.monotonic() - started < limits.wall_s + 5
    assert scene.harm(told) == [], told
    assert await has(zygote, 1), "processes were left"
    return result


@pytest.mark.parametrize("name", PAYLOADS)
async def test_it_does_no_harm_and_the_next_job_is_served(sandbox: LinuxSandbox, scene: Scene, name: str) -> None:
    before = zygote_of(sandbox)
    await attack(sandbox, scene, name)
    assert zygote_of(sandbox) == before
    await assert_serves(sandbox)


@pytest.mark.parametrize(
    "name",
    [
        *("read_a_file", "import_a_file", "write_a_file", "change_the_disk", "run_a_command"),
        *("become_another_program", "connect_by_tcp", "connect_by_unix_socket", "stop_a_process"),
    ],
)
async def test_without_a_sandbox_it_does_harm(name: str) -> None:
    """The control: the canaries would tell."""
    script = (
        "import asyncio, pickle, sys\n"
        "from ec262.adapters.sandbox.in_process import UnconfinedSandbox\n"
        "from ec262.domain.job import Limits\n"
        "from ec262.domain.outcome import decode_outcome\n"
        "computed = asyncio.run(UnconfinedSandbox().run(pickle.load(sys.stdin.buffer), Limits()))\n"
        "print(decode_outcome(computed.outcome), computed.log)\n"
    )
    scene = Scene()
    try:
        work = map_work(PAYLOADS[name], [("row", scene.target(zygote=scene.victim.pid))])
        command = [sys.executable, "-c", script]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(  # noqa: ASYNC221 - nothing else goes on
            command, input=pickle.dumps(work), capture_output=True, env=environment, check=False
        )
        assert scene.harm((done.stdout + done.stderr).decode(errors="replace")) != []
    finally:
        scene.close()


@pytest.mark.parametrize(
    "functions",
    [
        pytest.param(b"cos\nsystem\n(S'touch {folder}/ran'\ntR.", id="runs a command"),
        pytest.param(b"cposix\nsystem\n(S'touch {folder}/ran'\ntR.", id="runs a command by another name"),
        pytest.param(b"cbuiltins\nopen\n(S'{folder}/written'\nS'w'\ntR.", id="opens a file"),
        pytest.param(b"cbuiltins\nexec\n(S'import os; os.kill(os.getppid(), 9)'\ntR.", id="kills its parent"),
        pytest.param(b"cos\n_exit\n(I0\ntR.", id="ends"),
        pytest.param(b"csys\nexit\n(I0\ntR.", id="exits"),
        pytest.param(b"(" * 2_000_000 + b"t" * 2_000_000 + b".", id="nests"),
        pytest.param(b"\x8e" + (1 << 60).to_bytes(8, "little") + b"x", id="announces more than there is"),
        pytest.param(b"cbuiltins\nbytes\n(L99999999999999L\ntR.", id="takes all memory"),
        pytest.param(b"I" + b"9" * 1_000_000 + b"\n.", id="a number without end"),
        pytest.param(b"\x00" * 100_000, id="garbage"),
        pytest.param(b"x" * (8 << 20), id="much garbage"),
    ],
)
async def test_hostile_pickles(sandbox: LinuxSandbox, scene: Scene, functions: bytes) -> None:
    functions = functions.replace(b"{folder}", str(scene.folder).encode())
    work = Work(phase=Phase.MAP, functions=functions, rows=encoded([(1, 1)]), seed=0)
    try:
        computed = await sandbox.run(work, LIMITS)
        assert failure_of(computed).function == "job"
    except (SandboxCrashed, SandboxLimitExceeded):
        pass
    assert scene.harm("") == []
    assert await has(zygote_of(sandbox), 1)
    await assert_serves(sandbox)


@pytest.mark.parametrize(
    ("name", "exception", "told"),
    [
        ("read_a_file", "PermissionError", "/secret'\n[the sandbox refused this: a job can use no file"),
        (
            "fork",
            "PermissionError",
            "in fork\nPermissionError: [Errno 1] Operation not permitted\n[the sandbox refused",
        ),
        ("connect_by_tcp", "PermissionError", "in connect_by_tcp\n"),
        ("run_a_program_by_subprocess", "ModuleNotFoundError", "'subprocess' is not available in the sandbox (rule: "),
    ],
)
async def test_a_refused_act_is_told_to_the_jobs_author(
    sandbox: LinuxSandbox, scene: Scene, name: str, exception: str, told: str
) -> None:
    computed = await attack(sandbox, scene, name)
    assert failure_of(computed).exception == exception
    assert told in computed.log.decode()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("exit_at_once", "exit status 0 and no result"),
        ("crash_by_null_pointer", "SIGSEGV"),
        ("trace_the_worker", "system call"),
        ("send_an_answer_of_no_kind", "protocol"),
        ("announce_a_huge_log", "protocol"),
    ],
)
async def test_a_crash_is_told(sandbox: LinuxSandbox, scene: Scene, name: str, told: str) -> None:
    result = await attack(sandbox, scene, name)
    assert isinstance(result, SandboxCrashed)
    assert told in str(result)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("announce_an_endless_result", "output"),
        ("allocate_for_ever", "memory"),
        ("allocate_at_once", "memory"),
        ("catch_everything_and_sleep", "wall"),
        ("print_for_ever", "wall"),
    ],
)
async def test_a_limit_is_told(sandbox: LinuxSandbox, scene: Scene, name: str, limit: str) -> None:
    result = await attack(sandbox, scene, name)
    assert isinstance(result, SandboxLimitExceeded)
    assert result.limit == limit


async def test_memory_from_the_kernel_itself_is_limited(sandbox: LinuxSandbox, scene: Scene) -> None:
    got_mib = dict(pairs_of(await attack(sandbox, scene, "map_for_ever")))["got"]
    assert 64 <= got_mib <= 128


async def test_a_terminal_gets_no_commands_from_a_job(sandbox: LinuxSandbox, scene: Scene) -> None:
    text = str(await attack(sandbox, scene, "claim_a_limit_with_a_terminals_commands"))
    assert "\x1b" not in text
    assert len(text) < 1200


async def test_inherited_descriptors_are_nothing_but_dev_null(sandbox: LinuxSandbox, scene: Scene) -> None:
    held = scene.secret_file.open()  # in the worker, as its own files and sockets are
    try:
        found = pairs_of(await attack(sandbox, scene, "use_inherited_descriptors"))
    finally:
        held.close()
    assert found == [("0", "b''"), ("1", "b''"), ("2", "b''")]
