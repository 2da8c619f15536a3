"""Lock a process in, layer by layer, before it meets a stranger's code.

The zygote gives up what it will not need again (``settle``); each child then goes through ``LAYERS`` in their order,
the system call filter last, because it refuses the calls that the others make.
"""

from __future__ import annotations

import contextlib
import math
import os
import pwd
import resource
import signal
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from ec262.adapters.sandbox.linux.child import kernel
from ec262.adapters.sandbox.linux.child.namespaces import Namespaces
from ec262.adapters.sandbox.linux.seccomp import policy

STREAM = 3
"""The child's one descriptor beside /dev/null on 0 to 2."""

_NOBODY = 65534
_MAX_DESCRIPTORS = 4096


class Confinement(NamedTuple):
    """What a child needs to know to lock itself in.

    The descriptors of its ``stream`` and of the memory for its ``log``, the process id of its ``parent`` as it sees it,
    the address space in bytes, the processor time in seconds, the version of ``landlock`` or 0, and the seccomp
    ``program``.
    """

    stream: int
    log: int
    parent: int
    address_space: int
    cpu_s: float
    landlock: int
    program: bytes


class Depth(NamedTuple):
    """What the machine gave beside the layers that there must be: the namespaces left, and the version of Landlock."""

    namespaces: Namespaces
    landlock: int
    landlock_detail: str


def settle(worker: int, *, without: Collection[str] = ()) -> Depth:
    """Make the zygote harmless and mortal: no file, no privilege, no way to get one, and dead when its worker is.

    ``without`` names layers of depth to leave out. Raises OSError where what must be is not possible.
    """
    _die_with(worker)  # also while privileges are dropped, which forgets it
    _limit(resource.RLIMIT_NOFILE, _MAX_DESCRIPTORS)  # few, for where there is no call that closes them all
    namespaces = Namespaces(denied="namespaces" in without)
    if os.getuid() == 0 or os.geteuid() == 0:
        user, group = _nobody()
        namespaces.leave(as_root=True)
        _become(user, group)
    namespaces.leave()
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    # The kernel keeps a whole huge page, 2 MiB, where a task has given back all of its address space but 4 KiB.
    kernel.prctl(kernel.PR_SET_THP_DISABLE, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    _die_with(worker)
    return Depth(namespaces, *_landlock(denied="landlock" in without))


def volunteer_for_oom() -> None:
    """Have this process, and its children, be the first to end where memory runs out: neither the worker nor what else
    runs on the machine. Children cannot take it back."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as file:  # noqa: PTH123 - likewise
        file.write(b"1000")


def address_space() -> int:
    """Return the bytes of address space that this process uses."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - pathlib is not worth its import here
        return int(file.read().split()[0]) * resource.getpagesize()


def lock_down(child: Confinement) -> None:
    """Lock this process in for good. Raises OSError naming the layer that fails."""
    for name, layer in LAYERS.items():
        try:
            layer(child)
        except (OSError, ValueError) as error:
            raise OSError(f"{name}: {error}") from error


def _keep_own_descriptors(child: Confinement) -> None:
    # Those from 0 to 2 are the zygote's, which has /dev/null there.
    try:
        os.dup2(child.stream, STREAM)
        kernel.close_from(STREAM + 1, _MAX_DESCRIPTORS)
    except OSError:
        os._exit(1)  # the stream may not be where it belongs: there is nowhere to say so


def _die_with_parent(child: Confinement) -> None:
    _die_with(child.parent)


def _hide_memory(_child: Confinement) -> None:
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def _restrict_by_landlock(child: Confinement) -> None:
    if child.landlock:
        kernel.restrict_by_landlock(child.landlock)


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
        _limit(kind, most)


def _gain_no_privileges(_child: Confinement) -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def _filter_system_calls(child: Confinement) -> None:
    kernel.install_filter(child.program)


LAYERS: Mapping[str, Callable[[Confinement], None]] = {
    "descriptors": _keep_own_descriptors,
    "death with its parent": _die_with_parent,
    "hidden memory": _hide_memory,
    "landlock": _restrict_by_landlock,  # takes a descriptor for a moment, so before the limits
    "rlimits": _limit_resources,
    "no new privileges": _gain_no_privileges,
    "seccomp": _filter_system_calls,
}


def _landlock(*, denied: bool) -> tuple[int, str]:
    """Restrict this process, too: what it cannot do, a child could not either. Return version and detail."""
    if denied:
        return 0, "not wanted"
    version = kernel.landlock_version()
    if not version:
        return 0, "this kernel has none, or was started without it"
    try:
        kernel.restrict_by_landlock(version)
    except OSError as error:
        return 0, f"refused: {error.strerror}"
    return version, kernel.landlock_detail(version)


def _die_with(parent: int) -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel knew
        os._exit(1)


def _limit(kind: int, most: int) -> None:
    """Set a resource limit for good. Raises OSError saying what the machine lacks."""
    try:
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))
    except OSError as error:
        raise OSError(f"{policy.NO_RLIMITS} ({error})") from error


def _nobody() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return _NOBODY, _NOBODY
    return entry.pw_uid, entry.pw_gid


def _become(user: int, group: int) -> None:
    try:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    except OSError as error:
        raise OSError(f"root's privileges could not be dropped: {error}") from error
    if os.getresuid() != (user,) * 3 or os.getresgid() != (group,) * 3 or os.getgroups():
        raise OSError("root's privileges could not be dropped")
