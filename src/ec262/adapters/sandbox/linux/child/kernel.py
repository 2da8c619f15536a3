"""The few calls to the kernel that Python has no function for."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
PR_SET_THP_DISABLE = 41
SECCOMP_MODE_FILTER = 2

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REC, MS_PRIVATE = 1 << 14, 1 << 18
MNT_DETACH = 2

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
# Calls as young as these have one number on all architectures.
_CLOSE_RANGE = 436
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights to files there are since a version; see linux/landlock.h for this and the next."""
_LANDLOCK_TCP_SINCE, _LANDLOCK_SCOPES_SINCE = 4, 6
_BIND_AND_CONNECT = _SIGNALS_AND_ABSTRACT_SOCKETS = 0b11

_CAPABILITY_VERSION_3 = 0x20080522
_INSTRUCTION_BYTES = 8

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
_libc.mount.argtypes = (ctypes.c_char_p,) * 3 + (ctypes.c_ulong, ctypes.c_char_p)
_libc.syscall.argtypes = (ctypes.c_long, *(ctypes.c_void_p,) * 3)  # a word each: numbers, or bytes
_libc.syscall.restype = ctypes.c_long


def prctl(option: int, argument: int, second: int = 0) -> None:
    """Call prctl(2). Raises OSError."""
    _check(_libc.prctl(option, argument, second, 0, 0))


def drop_capabilities() -> None:
    """Give up every capability, of each kind, for good. Raises OSError."""
    header = struct.pack("@Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, bytes(24)))


def close_from(first: int, highest: int) -> None:
    """Close all descriptors from ``first`` on; before Linux 5.9, those up to ``highest``. Raises OSError."""
    try:
        _system_call(_CLOSE_RANGE, first, (1 << 32) - 1)
    except OSError:
        os.closerange(first, highest + 1)


def unshare(flags: int) -> None:
    """Call unshare(2). Raises OSError."""
    _check(_libc.unshare(flags))


def mount(source: bytes, target: bytes, kind: bytes, flags: int, options: bytes = b"") -> None:
    """Call mount(2). Raises OSError."""
    _check(_libc.mount(source, target, kind, flags, options))


def make_root() -> None:
    """Make the current folder, where a file system is mounted, the root, and let go of the old one. Raises OSError."""
    # Both are the same folder: the old root comes to lie over the new one, where it is taken off (pivot_root(2)).
    _system_call(_PIVOT_ROOT[os.uname().machine], b".", b".")
    _check(_libc.umount2(b".", MNT_DETACH))


def landlock_version() -> int:
    """Return the version of Landlock's interface (its "ABI"), 0 where the kernel has none or does not use it."""
    try:
        return _system_call(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    except OSError:
        return 0


def restrict_by_landlock(version: int) -> None:
    """Give up, for good, all that this version of Landlock has a say in: every rule it knows, and no exception.

    It takes a descriptor for a moment. Raises OSError.
    """
    rights = max(count for since, count in _LANDLOCK_FILE_RIGHTS.items() if since <= version)
    tcp = _BIND_AND_CONNECT if version >= _LANDLOCK_TCP_SINCE else 0
    scopes = _SIGNALS_AND_ABSTRACT_SOCKETS if version >= _LANDLOCK_SCOPES_SINCE else 0
    attributes = struct.pack("@QQQ", (1 << rights) - 1, tcp, scopes)
    ruleset = _system_call(_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        _system_call(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def landlock_detail(version: int) -> str:
    """Say what a version of Landlock has a say in."""
    tcp = ", TCP" if version >= _LANDLOCK_TCP_SINCE else ""
    scopes = ", signals, abstract sockets" if version >= _LANDLOCK_SCOPES_SINCE else ""
    return f"ABI {version}: files{tcp}{scopes}"


def can_filter() -> bool:
    """Whether the kernel, and what may confine this process already, lets it install a seccomp program."""
    try:
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 0)
    except OSError as error:
        return error.errno == errno.EFAULT  # all was well but the address
    return False


def install_filter(program: bytes) -> None:
    """Install a seccomp program for this thread and all that it may start. Raises OSError."""
    instructions = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: how many, and where.
    fields = struct.pack("@HP", len(program) // _INSTRUCTION_BYTES, ctypes.addressof(instructions))
    header = ctypes.create_string_buffer(fields, len(fields))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(header))


def _system_call(number: int, *arguments: Any) -> int:
    return _check(_libc.syscall(number, *(*arguments, 0, 0, 0)[:3]))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
