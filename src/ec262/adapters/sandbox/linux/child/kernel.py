"""The few calls to the kernel that Python has no function for."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

_CAPABILITY_VERSION_3 = 0x20080522
_INSTRUCTION_BYTES = 8

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)


def prctl(option: int, argument: int, second: int = 0) -> None:
    """Call prctl(2). Raises OSError."""
    _check(_libc.prctl(option, argument, second, 0, 0))


def drop_capabilities() -> None:
    """Give up every capability, of each kind, for good. Raises OSError."""
    header = struct.pack("@Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, bytes(24)))


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


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
