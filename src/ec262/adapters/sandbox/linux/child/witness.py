"""A job that tries what no job may do, and so shows whether the sandbox holds. It travels by name: children have it."""

from __future__ import annotations

import errno
import mmap
import os
import socket
from collections.abc import Callable, Iterator

from ec262.adapters.sandbox.linux.child import refusals

REFUSED = "refused"
MORE_THAN_ITS_LIMIT_BYTES = 1 << 28


def attempt(act: str, _value: object) -> Iterator[tuple[str, str]]:
    """Mapper: try the act that the key names, and yield what came of it.

    What counts is the kernel's word.
    """
    refusals.RULES.clear()
    try:
        ACTS[act]()
    except OSError as error:
        yield act, REFUSED if error.errno in {errno.EPERM, errno.ENOMEM} else str(error)
    else:
        yield act, "allowed"


def double(key: object, value: int) -> Iterator[tuple[object, int]]:
    """Mapper that just works."""
    yield key, 2 * value


def fail(key: object, _value: object) -> None:
    """Mapper that fails, in a way for which Python's traceback has most to look up."""
    raise NameError(f"no name {key}", name="key")


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


ACTS: dict[str, Callable[[], object]] = {
    "fork a process": _fork,
    "list a directory": lambda: os.listdir("/"),  # noqa: PTH208 - the plain system call is what is tried
    "look at a file": lambda: os.stat("/"),  # noqa: PTH116 - likewise
    "open a file": lambda: os.open("/", os.O_RDONLY),
    "open a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "signal another process": lambda: os.kill(os.getppid(), 0),
    "start a program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 - likewise
    "share memory": lambda: mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_SHARED),
    "take more memory than its limit": lambda: mmap.mmap(-1, MORE_THAN_ITS_LIMIT_BYTES, mmap.MAP_PRIVATE),
}
