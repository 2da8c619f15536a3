"""Ties between processes, of which Linux alone knows (prctl(2)), and their priority."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
"""Both from <linux/prctl.h>."""

_AUTOGROUP_TRIES = 5
_AUTOGROUP_PAUSE_S = 0.1


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


def lower_priority(pid: int, nice: int) -> None:
    """Have a process that leads a session, and all that it starts later, give way to others: ``nice`` is up to 19 (only
    what nobody else wants). One that gives way as much already is left alone. Raises OSError."""
    if nice <= os.getpriority(os.PRIO_PROCESS, pid):
        return
    os.setpriority(os.PRIO_PROCESS, pid, nice)
    # Where the scheduler weighs sessions against each other, niceness counts within one only, and the session has its
    # own (sched(7), "The autogroup feature"). An ordinary user may change one in a tenth of a second.
    for _ in range(_AUTOGROUP_TRIES):
        with suppress(FileNotFoundError, PermissionError):
            try:
                Path(f"/proc/{pid}/autogroup").write_text(str(nice), encoding="ascii")
            except BlockingIOError:
                time.sleep(_AUTOGROUP_PAUSE_S)
                continue
        return
