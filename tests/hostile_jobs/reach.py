"""What hostile jobs have in common: how they reach for what is hidden from honest ones."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

Target = dict[str, Any]
Act = Callable[..., Any]


class Payload(NamedTuple):
    """A hostile job: ``act`` is its mapper, ``family`` what it is an example of.

    Run without a sandbox it does harm, if not for what ``unless`` says of the machine; ``never`` says why it is not run
    so.
    """

    family: str
    act: Act
    unless: str
    never: str


PAYLOADS: dict[str, Payload] = {}


def payload(family: str, *, unless: str = "", never: str = "") -> Callable[[Act], Act]:
    def note(act: Act) -> Act:
        PAYLOADS[act.__name__] = Payload(family, act, unless, never)
        return act

    return note


def armed(act: Act) -> Act:
    """Have a job first be rid of what Python itself would tell it: the kernel's word is what is tried."""

    def mapper(key: str, target: Target) -> Any:
        refusals: Any = sys.modules.get("ec262.adapters.sandbox.linux.child.refusals")
        if refusals is not None:
            refusals.RULES.clear()
        return act(key, target)

    return mapper


def worked(success: object) -> list[tuple[str, bool]]:
    """Report, for harm that leaves no trace outside, whether the kernel did what it was asked for."""
    return [("worked", bool(success))]


def module(name: str) -> Any:
    """Import a module, or find it where the sandbox's own code holds it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        for holder in list(sys.modules.values()):
            found = getattr(holder, name, None)
            if isinstance(found, ModuleType):
                return found
        raise


def libc() -> Any:
    library = module("ctypes").CDLL(None, use_errno=True)
    library.syscall.restype = module("ctypes").c_long
    library.mmap.restype = module("ctypes").c_void_p
    return library


def call(name: str | int, *arguments: Any) -> int:
    """Make a system call; return what it does, or the negative error number."""
    ctypes = module("ctypes")
    number = name if isinstance(name, int) else NUMBERS[name]
    words = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result = libc().syscall(ctypes.c_long(number), *words)
    return int(result) if result != -1 else -int(ctypes.get_errno())


_NO_CALL = 0x7FFF
_BOTH = {  # x86-64, arm64
    "read": (0, 63),
    "open": (2, _NO_CALL),
    "openat": (257, 56),
    "execve": (59, 221),
    "execveat": (322, 281),
    "clone": (56, 220),
    "fork": (57, _NO_CALL),
    "vfork": (58, _NO_CALL),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "setns": (308, 268),
    "pivot_root": (155, 41),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "memfd_create": (319, 279),
    "pkey_mprotect": (329, 288),
    "personality": (135, 92),
    "socket": (41, 198),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "mq_open": (240, 180),
    "timer_create": (222, 107),
    "prlimit64": (302, 261),
    "seccomp": (317, 277),
    "modify_ldt": (154, _NO_CALL),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "getrusage": (98, 165),
    "times": (100, 153),
}
_YOUNG = {  # the same on both
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsmount": 432,
    "pidfd_open": 434,
    "clone3": 435,
    "openat2": 437,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "memfd_secret": 447,
}
NUMBERS = {name: numbers[platform.machine() == "aarch64"] for name, numbers in _BOTH.items()} | _YOUNG
