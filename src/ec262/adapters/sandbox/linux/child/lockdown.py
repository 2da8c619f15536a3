"""Lock a process in, layer by layer, before it meets a stranger's code.

The zygote gives up what it will not need again (``settle``); each child then goes through ``LAYERS`` in their order,
the system call filter last, because it refuses the calls that the others make.
"""

from __future__ import annotations

import math
import os
import pwd
import resource
import signal
from collections.abc import Callable
from typing import NamedTuple

from ec262.adapters.sandbox.linux.child import kernel

STREAM = 3
"""The child's one descriptor beside /dev/null on 0 to 2."""

_NOBODY = 65534


class Confinement(NamedTuple):
    """What a child needs to know to lock itself in: the descriptor of its ``stream``, its ``zygote``'s process id, the
    address space in bytes, the processor time in seconds, and the seccomp ``program``."""

    stream: int
    zygote: int
    address_space: int
    cpu_s: float
    program: bytes


def settle(worker: int) -> None:
    """Make the zygote harmless and mortal: no privilege, no way to get one, and dead when its worker is.

    Raises OSError where that is not possible.
    """
    _die_with(worker)  # also while privileges are dropped, which forgets it
    if os.getuid() == 0 or os.geteuid() == 0:
        _become_nobody()
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    _die_with(worker)


def address_space() -> int:
    """Return the bytes of address space that this process uses."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - pathlib is not worth its import here
        return int(file.read().split()[0]) * resource.getpagesize()


def lock_down(child: Confinement) -> None:
    """Lock this process in for good. Raises OSError or ValueError where a layer fails."""
    for layer in LAYERS:
        layer(child)


def _keep_own_descriptors(child: Confinement) -> None:
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(STREAM):
            os.dup2(null, standard)
        os.dup2(child.stream, STREAM)
        os.closerange(STREAM + 1, 1 + max(map(int, os.listdir("/proc/self/fd"))))  # noqa: PTH208 - as above
    except OSError:
        os._exit(1)  # the stream may not be where it belongs: there is nowhere to say so


def _die_with_zygote(child: Confinement) -> None:
    _die_with(child.zygote)


def _hide_memory(_child: Confinement) -> None:
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def _limit_resources(child: Confinement) -> None:
    # Whole seconds, and later than the timer that tells: for a child that does not hear it.
    cpu_s = math.floor(child.cpu_s) + 1
    for kind, most in (
        (resource.RLIMIT_AS, child.address_space),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))


def _gain_no_privileges(_child: Confinement) -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def _filter_system_calls(child: Confinement) -> None:
    kernel.install_filter(child.program)


LAYERS: tuple[Callable[[Confinement], None], ...] = (
    _keep_own_descriptors,
    _die_with_zygote,
    _hide_memory,
    _limit_resources,
    _gain_no_privileges,
    _filter_system_calls,
)


def _die_with(parent: int) -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel knew
        os._exit(1)


def _become_nobody() -> None:
    try:
        entry = pwd.getpwnam("nobody")
        user, group = entry.pw_uid, entry.pw_gid
    except KeyError:
        user = group = _NOBODY
    try:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    except OSError as error:
        raise OSError(f"root's privileges could not be dropped: {error}") from error
    if os.getresuid() != (user,) * 3 or os.getresgid() != (group,) * 3 or os.getgroups():
        raise OSError("root's privileges could not be dropped")
