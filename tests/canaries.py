"""What a hostile job could harm, and how to see from outside whether it did."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from tests.hostile_jobs import Target

SECRET = "canary-7f3a91c2"
WORKED = "('worked', True)"
NOBODY = 65534


class Scene:
    """What a job could harm, all of it within reach of the user that jobs run as."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="ec262-canaries-"))
        self._stack.callback(shutil.rmtree, self.folder)
        self.folder.chmod(0o777)
        self.secret_file = self.folder / "secret"
        self.secret_file.write_text(SECRET)
        self.secret_file.chmod(0o666)
        self._stack.enter_context(self.secret_file.open())  # as a worker has its own files open
        os.environ["EC262_CANARY"] = SECRET
        self._stack.callback(os.environ.pop, "EC262_CANARY")
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
        nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        self.victim = subprocess.Popen([shutil.which("sleep") or "/bin/sleep", "600"], cwd="/", **nobody)
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
        if WORKED in told:
            harm.append("the kernel did what it should not")
        if self._look_at_disk() != self._disk:
            harm.append("the disk was changed")
        if any(self._was_reached(listener) for listener in self._listeners):
            harm.append("the network was reached")
        if self.victim.poll() is not None or state_of(self.victim.pid) == "T":
            harm.append("another process was killed or stopped")
        return harm

    def _look_at_disk(self) -> dict[str, tuple[Any, ...]]:
        return {
            path.name: (status.st_mode, status.st_size, status.st_mtime_ns, path.is_file() and path.read_bytes()[:100])
            for path in self.folder.iterdir()
            if path.name != "__pycache__"
            for status in [path.lstat()]
        }

    def _listen(self, family: int, kind: int, address: Any) -> socket.socket:
        listener = self._stack.enter_context(socket.socket(family, kind))
        listener.bind(address)
        listener.settimeout(0)
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
    return _stat(pid)[0]


def session_of(pid: int) -> set[int]:
    """Return the living processes of a session."""
    members = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            state, _, _, session, *_ = _stat(int(entry.name))
            if int(session) == pid and state != "Z":
                members.add(int(entry.name))
    return members


def is_first_of_namespace(pid: int) -> bool:
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        return any(line.startswith("NSpid:") and line.split()[-1] == "1" for line in status.splitlines())
    return False


def _stat(pid: int) -> list[str]:
    """Return state, parent, process group, session, and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


async def has(pid: int, members: int) -> bool:
    """Whether a zygote's session has, soon, that many processes: itself, and children.

    The first process of the children's pid namespace does not count, unless it has outlived its zygote.
    """
    for _ in range(500):
        found = session_of(pid)
        if len([member for member in found if pid not in found or not is_first_of_namespace(member)]) == members:
            return True
        await asyncio.sleep(0.01)
    return False
