"""The Linux sandbox against jobs that mean harm. Judged by canaries outside, not by what the sandbox says."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ec262.adapters.sandbox.linux.sandbox import LinuxSandbox
from ec262.domain.errors import SandboxError
from ec262.domain.job import Limits
from ec262.domain.outcome import decode_outcome
from tests.hostile_jobs import PAYLOADS, Target
from tests.sandbox_jobs import assert_serves, map_work

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox needs Linux"),
    pytest.mark.asyncio(loop_scope="module"),
]

SECRET = "canary-7f3a91c2"
NOBODY = 65534
LIMITS = Limits(cpu_s=1, wall_s=0.5, memory_bytes=128 << 20, output_bytes=1 << 20, log_bytes=1 << 14)

Result = tuple[str, str]


class Scene:
    """What a job could harm, all of it within reach of the user that jobs run as."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="ec262-canaries-"))
        self._stack.callback(shutil.rmtree, self.folder)
        self.folder.chmod(0o777)
        self.secret_file = self.folder / "secret"
        self.secret_file.write_text(SECRET)
        (self.folder / "secret_module.py").write_text(f"SECRET = {SECRET!r}")
        self._disk = self._look_at_disk()
        self._memory = ctypes.create_string_buffer(SECRET.encode())
        self._listeners = [self._listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))]
        self._listeners.append(self._listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)))
        unix = Path(tempfile.mkdtemp(prefix="ec262-socket-"))
        self._stack.callback(shutil.rmtree, unix)
        unix.chmod(0o777)
        self.unix = unix / "socket"
        self._listeners.append(self._listen(socket.AF_UNIX, socket.SOCK_STREAM, str(self.unix)))
        self.unix.chmod(0o777)
        self.abstract = f"ec262-{os.getpid()}-{id(self)}"
        self._listeners.append(self._listen(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.abstract))
        user = NOBODY if os.geteuid() == 0 else None
        self.victim = subprocess.Popen(["sleep", "600"], user=user, cwd="/")
        self._stack.callback(self.victim.wait)
        self._stack.callback(self.victim.kill)

    def close(self) -> None:
        self._stack.close()

    def target(self, zygote: int) -> Target:
        return {
            "secret_file": str(self.secret_file),
            "write_dir": str(self.folder),
            "tcp": self._listeners[0].getsockname()[1],
            "udp": self._listeners[1].getsockname()[1],
            "unix": str(self.unix),
            "abstract": self.abstract,
            "victim": self.victim.pid,
            "worker": os.getpid(),
            "zygote": zygote,
            "secret_address": ctypes.addressof(self._memory),
        }

    def harm(self, told: str) -> list[str]:
        """Return what harm was done, given all that the job sent back."""
        harm = []
        if SECRET in told:
            harm.append("a secret was told")
        if self._look_at_disk() != self._disk:
            harm.append("the disk was changed")
        if any(self._was_reached(listener) for listener in self._listeners):
            harm.append("the network was reached")
        if self.victim.poll() is not None or state_of(self.victim.pid) == "T":
            harm.append("another process was killed or stopped")
        return harm

    def _look_at_disk(self) -> dict[str, tuple[Any, ...]]:
        return {
            path.name: (status.st_mode, status.st_size, status.st_mtime_ns)
            for path in self.folder.iterdir()
            if path.name != "__pycache__"
            for status in [path.lstat()]
        }

    def _listen(self, family: int, kind: int, address: Any) -> socket.socket:
        listener = self._stack.enter_context(socket.socket(family, kind))
        listener.bind(address)
        listener.setblocking(False)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        return listener

    @staticmethod
    def _was_reached(listener: socket.socket) -> bool:
        with suppress(BlockingIOError):
            if listener.type == socket.SOCK_STREAM:
                listener.accept()[0].close()
            else:
                listener.recv(100)
            return True
        return False


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def session_of(pid: int) -> set[int]:
    """Return the processes of a session."""
    members = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError, IndexError):
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == pid:
                members.add(int(entry.name))
    return members


async def is_alone(pid: int) -> bool:
    """Whether a process is, soon, the only one of its session."""
    for _ in range(100):
        if session_of(pid) == {pid}:
            return True
        await asyncio.sleep(0.01)
    return False


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


def zygote_of(sandbox: LinuxSandbox) -> int:
    assert sandbox._zygote is not None
    return sandbox._zygote._process.pid


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
    assert await is_alone(zygote), "processes were left"
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
        *("read_a_file", "map_a_file", "import_a_file", "write_a_file", "change_the_disk", "run_a_command"),
        *("run_a_program_by_subprocess", "become_another_program", "connect_by_tcp", "send_by_udp"),
        *("connect_by_unix_socket", "stop_a_process", "signal_by_pidfd"),
    ],
)
def test_without_a_sandbox_it_does_harm(name: str) -> None:
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
        done = subprocess.run(command, input=pickle.dumps(work), capture_output=True, env=environment, check=False)
        assert scene.harm((done.stdout + done.stderr).decode(errors="replace")) != []
    finally:
        scene.close()


def forever_nested(depth: int) -> bytes:
    return b"(" * depth + b"t" * depth + b"."


@pytest.mark.parametrize(
    "functions",
    [
        pytest.param(b"cos\nsystem\n(S'touch {folder}/ran'\ntR.", id="runs a command"),
        pytest.param(b"cposix\nsystem\n(S'touch {folder}/ran'\ntR.", id="runs a command by another name"),
        pytest.param(b"cbuiltins\nopen\n(S'{folder}/written'\nS'w'\ntR.", id="opens a file"),
        pytest.param(b"cbuiltins\nexec\n(S'import os; os.kill(os.getppid(), 9)'\ntR.", id="kills its parent"),
        pytest.param(b"cos\n_exit\n(I0\ntR.", id="ends"),
        pytest.param(b"csys\nexit\n(I0\ntR.", id="exits"),
        pytest.param(forever_nested(2_000_000), id="nests"),
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
    assert await is_alone(zygote_of(sandbox))
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
