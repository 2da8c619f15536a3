"""A job that tries what no job may do, and so shows whether the sandbox holds. It travels by name: guests have it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator

REFUSED = "refused"
MORE_THAN_ITS_LIMIT_BYTES = 1 << 26


def attempt(act: str, _value: object) -> Iterator[tuple[str, str]]:
    """Mapper: try the act that the key names, and yield what came of it."""
    try:
        ACTS[act]()
    except MemoryError:
        yield act, REFUSED
    except OSError as error:
        yield act, REFUSED if error.errno in {errno.EPERM, errno.ENOSYS, errno.ENOTSUP} else str(error)
    except AttributeError:  # there is no such call at all
        yield act, REFUSED
    else:
        yield act, "allowed"


def double(key: object, value: int) -> Iterator[tuple[object, int]]:
    """Mapper that just works."""
    yield key, 2 * value


def fail(key: object, _value: object) -> None:
    """Mapper that fails, in a way for which Python's traceback has most to look up."""
    raise NameError(f"no name {key}", name="key")


ACTS: dict[str, Callable[[], object]] = {
    "fork a process": lambda: os.fork(),  # noqa: PLW0108 - looked up when it is tried: it is not there
    "list a directory": lambda: os.listdir("/"),  # noqa: PTH208 - the plain system call is what is tried
    "look at a file": lambda: os.stat("/etc/passwd"),  # noqa: PTH116 - likewise
    "open a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "open a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "signal another process": lambda: os.kill(1, 0),
    "start a program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 - likewise
    "take more memory than its limit": lambda: bytearray(MORE_THAN_ITS_LIMIT_BYTES),
    "write a file": lambda: os.open("/tmp/written", os.O_WRONLY | os.O_CREAT),  # noqa: S108 - there is no such folder
}
