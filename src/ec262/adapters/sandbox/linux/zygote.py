"""The worker's side of a zygote: start it, have it fork children, know when they and it are gone."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from ec262.adapters.machine.processes import Priority
from ec262.adapters.sandbox.linux.child import frames
from ec262.adapters.sandbox.linux.offspring import Exit, RequestedChild
from ec262.adapters.sandbox.linux.seccomp.policy import seccomp_program
from ec262.adapters.sandbox.tier import Layer
from ec262.domain.errors import SandboxBroken, SandboxUnavailable
from ec262.domain.work.work import Limits

logger = logging.getLogger(__name__)

ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC0",
    # Native libraries start no threads when they are loaded, for children could not be forked then, and try to start
    # none in a task, which would end it: OpenBLAS, OpenMP, and the allocator in pyarrow.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""All that jobs see: the same everywhere, so that honest machines agree, and nothing of the worker's."""

_TO_START = ("LD_LIBRARY_PATH",)
"""What some interpreters need to start at all; the zygote then forgets it."""

_BOOT = Path(__file__).with_name("child") / "boot.py"
_NEEDED = ("ec262", "attr", "attrs", "cloudpickle")
_MAX_MEMORY_BYTES = 1 << 60
_MAX_CPU_S = 1e9
_MAX_STDERR_BYTES = 4000
_PATIENCE_S = 2.0


class ZygoteProcess:
    """A running zygote. Belongs to the event loop, and to the thread, in which it was started."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, folders: Sequence[str]) -> None:
        self._process = process
        self.priority = Priority(process.pid)
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._problem: asyncio.Future[str] = self._loop.create_future()
        self._numbers = itertools.count()
        self._children: dict[int, RequestedChild] = {}
        self.folders = folders
        """Where what jobs import comes from."""
        self.layers: tuple[Layer, ...] = ()
        """What the machine gave, once it is ready."""
        self.alive = True
        self._loop.add_reader(control, self._on_readable)

    @classmethod
    async def start(
        cls,
        packages: Sequence[str],
        *,
        timeout_s: float,
        hash_seed: int = 0,
        without: Collection[str] = (),
    ) -> ZygoteProcess:
        """Start one that has these packages loaded, and leaves out the layers ``without`` which it shall do.

        Raises SandboxUnavailable saying what is missing.
        """
        paths = _paths((*_NEEDED, *packages))
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.setblocking(False)  # noqa: FBT003 - the standard library's way
        order = {
            "worker": os.getpid(),
            "packages": packages,
            "paths": paths,
            "without": sorted(without),
        }
        try:
            with theirs:
                control.send(json.dumps(order).encode())
                process = _spawn(theirs.fileno(), hash_seed)
        except OSError as error:
            control.close()
            raise SandboxUnavailable(f"the sandbox's process cannot be started: {error}") from error
        zygote = cls(process, control, [*paths, str(Path(os.__file__).parent)])
        try:
            problem = await zygote._get_ready(timeout_s)
        except BaseException:
            await zygote.close()
            raise
        if problem:
            await zygote.close()
            raise SandboxUnavailable(problem)
        return zygote

    async def _get_ready(self, timeout_s: float) -> str:
        """Return what is wrong, nothing if nothing is."""
        assert self._process.stderr is not None  # noqa: S101 - for the type checker
        with self._process.stderr as stderr:
            program = seccomp_program()  # while it loads
            with contextlib.suppress(OSError):  # it may have ended already, and said why
                self._control.send(program)
            try:
                async with asyncio.timeout(timeout_s):
                    problem = await self._problem
            except TimeoutError:
                return f"the sandbox's process was not ready after {timeout_s:g} s"
            if self.alive or problem:
                return problem
            await self.close()
            said = stderr.read(_MAX_STDERR_BYTES).decode(errors="replace").strip()
            return f"the sandbox's process ended before it was ready: {said or 'it said nothing'}"

    async def fork(self, limits: Limits) -> RequestedChild:
        """Have a child forked. It is locked in, and waits for its task. Raises SandboxBroken."""
        try:
            child, theirs = RequestedChild.expected(log_bytes=limits.log_bytes)
        except OSError as error:
            raise SandboxBroken(f"no process could be started for the task: {error}") from error
        number = next(self._numbers)
        self._children[number] = child
        most = min(limits.memory_bytes, _MAX_MEMORY_BYTES), min(limits.cpu_s, _MAX_CPU_S)
        request = frames.FORK_FIELDS.pack(number, *most)
        try:
            with theirs:
                socket.send_fds(self._control, [request], [theirs.fileno(), child.log])
            await child.started()
        except OSError as error:
            if not isinstance(error, BlockingIOError):  # else it is only behind
                self._on_end()
            self._children.pop(number, child).kill()
            raise SandboxBroken(f"the sandbox's own process does not accept tasks: {error}") from error
        except BaseException:
            child.kill()
            raise
        return child

    async def close(self) -> None:
        """Kill it and all its children, and wait until it is gone. May be called twice."""
        self.priority.close()
        self._on_end()
        try:
            await asyncio.to_thread(self._process.wait, _PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def _on_readable(self) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, frames.MAX_MESSAGE_BYTES, 1)
        except (BlockingIOError, ConnectionResetError):  # after a reset, what was sent before it can still be read
            return
        except OSError:
            message, descriptors = b"", []
        kind, fields = message[:1], message[1:]
        if not message or (kind == frames.FORKED and not descriptors):  # or this process has no descriptor left
            self._on_end()
        elif kind == frames.READY:
            self.layers = tuple(
                Layer(name=name, in_force=there, detail=told) for name, there, told in json.loads(fields)
            )
            self._problem.set_result("")
        elif kind == frames.UNFIT:
            self._on_unfit(fields.decode(errors="replace"))
        elif kind == frames.FORKED:
            self._children[_number(fields)].on_started(descriptors[0])
        elif kind == frames.NOT_FORKED:
            self._children.pop(_number(fields)).on_not_started(fields[frames.NUMBER.size :].decode(errors="replace"))
        elif kind == frames.EXITED:
            number, code, cpu_s = frames.EXITED_FIELDS.unpack(fields)
            self._children.pop(number).on_exited(Exit(code=code, cpu_s=cpu_s))

    def _on_unfit(self, reason: str) -> None:
        if self._problem.done():
            logger.error("the sandbox's own process ends: %s", reason)
        else:
            self._problem.set_result(reason)

    def _on_end(self) -> None:
        """The zygote is gone, or told to go: it kills its children, and the kernel does where it cannot."""
        if not self.alive:
            return
        self.alive = False
        self._loop.remove_reader(self._control)
        self._control.close()
        if not self._problem.done():
            self._problem.set_result("")
        while self._children:
            child = self._children.popitem()[1]
            child.signal(signal.SIGKILL)
            child.on_exited(None)


def _number(fields: bytes) -> int:
    number: int = frames.NUMBER.unpack_from(fields)[0]
    return number


def _spawn(control: int, hash_seed: int) -> subprocess.Popen[bytes]:
    """Start the process. It takes a millisecond, and dies with the thread that this runs in. Raises OSError."""
    # It may keep compiled modules where the worker itself may: that saves a fifth of the start.
    flags = ["-s", "-S", "-P", *(["-B"] if sys.dont_write_bytecode else [])]
    return subprocess.Popen(  # noqa: S603 - this very interpreter, and arguments of our own
        [sys.executable, *flags, str(_BOOT), str(control)],
        env=ENVIRONMENT
        | {"PYTHONHASHSEED": str(hash_seed)}
        | {name: os.environ[name] for name in _TO_START if name in os.environ},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[control],
        start_new_session=True,  # a terminal's Ctrl-C is not for it
    )


def _paths(names: Sequence[str]) -> list[str]:
    """Return the folders that packages are imported from. Raises SandboxUnavailable naming one that is not there."""
    folders = []
    for name in names:
        spec = None
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name.partition(".")[0])
        if spec is None:
            raise SandboxUnavailable(f"the package {name!r}, which jobs are to be allowed to import, is not installed")
        places = spec.submodule_search_locations or [spec.origin or ""]
        folders += [str(Path(place).parent) for place in places]
    return list(dict.fromkeys(folders))
