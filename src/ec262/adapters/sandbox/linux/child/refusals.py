"""Tell a job's author which rule it ran into, where the kernel says no more than "operation not permitted".

A courtesy, and no defence: a job can undo all of this, and then hears it from the kernel.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

_ACTS = {
    "files": """
        open os.chdir os.chmod os.chown os.link os.listdir os.mkdir os.remove os.rename os.rmdir os.scandir os.symlink
        os.truncate os.utime
    """,
    "network": "socket.__new__ socket.getaddrinfo socket.gethostbyname socket.gethostname",
    "other processes": """
        os.exec os.fork os.forkpty os.kill os.killpg os.posix_spawn os.system subprocess.Popen signal.pthread_kill
    """,
    "threads": "_thread.start_new_thread _thread.start_joinable_thread",
    "say over its limits": "resource.setrlimit resource.prlimit",
}

RULES = {act: rule for rule, acts in _ACTS.items() for act in acts.split()}
"""What a job has none of, by the name under which Python announces an act (the table of audit events)."""

_UNANNOUNCED = {
    "files": ("stat", "lstat", "readlink", "getcwd", "statvfs", "mkfifo", "mknod"),
    "descriptors of its own": ("dup", "dup2", "eventfd", "memfd_create", "pipe"),
    "other processes": ("setsid", "wait", "waitpid"),
    "say over its limits": ("nice", "sched_setaffinity"),
}


def prepare() -> None:
    """Have functions that Python does not announce tell which rule they ran into. Done once, in the zygote."""
    for rule, names in _UNANNOUNCED.items():
        for name in names:
            setattr(os, name, _told(getattr(os, name), rule))

    setattr(threading.Thread, "start", _start_thread)  # noqa: B010 - not announced before Python 3.12


def announce() -> None:
    """Have all that Python announces, and the rules forbid, raise an error that says so, in this process."""
    sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    rule = RULES.get(event)
    if rule is None or (event == "open" and isinstance(arguments[0], int)):  # a descriptor is open already
        return
    path = arguments[0] if rule == "files" and isinstance(arguments[0], (str, bytes)) else None
    raise _refusal(rule, event.removesuffix(".__new__"), path)


def _start_thread(_thread: threading.Thread) -> NoReturn:
    raise _refusal("threads", "threading.Thread.start")


def _told(function: Callable[..., Any], rule: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except PermissionError as error:
            if error.errno != errno.EPERM:
                raise
            raise _refusal(rule, f"os.{function.__name__}", error.filename) from None

    return call


def _refusal(rule: str, act: str, path: str | bytes | None = None) -> PermissionError:
    return PermissionError(errno.EPERM, f"the ec262 sandbox has no {rule} ({act})", *([path] if path else []))
