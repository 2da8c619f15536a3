"""Ties between processes, of which Linux alone knows (prctl(2)), their priority, and how they hold memory."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
"""Both from <linux/prctl.h>."""

M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
"""Both from <malloc.h> of glibc."""

LARGE_BYTES = 1 << 20
"""What is given back to the kernel by itself as soon as it is free."""

_SESSION_TRIES = 5
_SESSION_PAUSE_S = 0.1


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}): {os.strerror(error)}")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends. ``parent`` is the parent's pid as it knew it itself:
    if that is not the parent any more, it is gone already and so are we."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def reap_orphans() -> None:
    """Become the parent of descendants whose own parents die, so that they can be waited for."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def give_memory_back() -> None:
    """Have large blocks of memory go back to the kernel when they are free, and one arena for all threads, where malloc
    is glibc's: by default it keeps what was free once, for each thread apart. To be called before threads are started.
    """
    with suppress(AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


class Priority:
    """How much a process that leads a session, and all that it starts later, gives way to others.

    To be made while the process can be looked into: one that hides its memory hides this from its own user, too.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # Where the scheduler weighs sessions against each other, niceness counts within one only, and the session has
        # its own (sched(7), "The autogroup feature").
        self._session: int | None = None
        with suppress(OSError):
            self._session = os.open(f"/proc/{pid}/autogroup", os.O_WRONLY)

    def lower(self, nice: int) -> None:
        """Have it give way: ``nice`` is up to 19 (only what nobody else wants). One that does so already is left alone.
        Raises OSError."""
        if nice <= os.getpriority(os.PRIO_PROCESS, self._pid):
            return
        os.setpriority(os.PRIO_PROCESS, self._pid, nice)
        if self._session is None:
            return
        for _ in range(_SESSION_TRIES):
            try:
                os.write(self._session, str(nice).encode())
            except BlockingIOError:  # an ordinary user may change one in a tenth of a second
                time.sleep(_SESSION_PAUSE_S)
            else:
                return

    def close(self) -> None:
        """Leave it as it is. May be called twice."""
        if self._session is not None:
            os.close(self._session)
            self._session = None
