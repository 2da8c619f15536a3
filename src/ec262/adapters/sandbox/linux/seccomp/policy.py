"""Which system calls a job's process may make.

An allowlist: what is not named fails with EPERM, which Python code sees as PermissionError. The descriptors that a
child has are /dev/null and its stream to the worker, and no allowed call makes another.

The tables below are the policy. ``programs.py`` has it as the kernel takes it: after a change here, run
``python -m tests.compile_policy``.
"""

from __future__ import annotations

import errno
import platform
from collections.abc import Mapping

from ec262.adapters.sandbox.linux.seccomp.programs import PROGRAMS
from ec262.domain.errors import SandboxUnavailable

_WORD, _INT = (1 << 64) - 1, (1 << 32) - 1
"""All bits of an argument; of one that the kernel takes as an int, whose upper half may be anything."""

PROT_READ, PROT_WRITE = 0x1, 0x2
MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE, MAP_STACK = 0x2, 0x10, 0x20, 0x4000, 0x20000
MREMAP_MAYMOVE = 0x1
MADV_DONTNEED, MADV_FREE, MADV_NOHUGEPAGE = 4, 8, 15
FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET = 0, 1, 9, 10
FUTEX_PRIVATE, FUTEX_CLOCK_REALTIME = 0x80, 0x100
STATIC_CLOCKS = 0xF
"""Clock ids up to 15. Other processes' clocks, and those of descriptors, have ids with higher bits."""


def _only(optional: int, required: int = 0, *, bits: int = _WORD) -> tuple[int, int]:
    """Return mask and wanted value for an argument with these optional and required bits, and no others."""
    return bits & ~optional, required


ALLOWED: Mapping[str, str] = {
    # What Python's memory allocator and its garbage collector need. The rest of it: see CONDITIONAL.
    "munmap": "give memory back",
    "brk": "grow the heap",
    # The stream to the worker.
    "read": "the task",
    "write": "the answer",
    "close": "of the few descriptors there are",
    # Time, which most machines answer without a call at all. The newer ways: see CONDITIONAL.
    "gettimeofday": "an older way",
    "time": "an older way (x86-64 only)",
    "nanosleep": "an older way",
    "restart_syscall": "a sleep that was stopped and goes on",
    # The limits on time are told by signals whose handlers are set before the filter is.
    "rt_sigreturn": "the end of a signal handler",
    "rt_sigprocmask": "abort() and the like; what ends a child for good cannot be blocked",
    # Harmless.
    "getrandom": "os.urandom, secrets, uuid",
    "getpid": "its own number",
    "gettid": "its own number",
    "sched_yield": "the interpreter's lock",
    "exit": "the end",
    "exit_group": "the end",
}

# (call, argument, mask, wanted): allowed only where all conditions of one tuple hold.
CONDITIONAL: tuple[tuple[str, tuple[tuple[int, int, int], ...]], ...] = (
    # Memory, never a file, never code, and never shared: pages of a shared mapping outlive its address space, which is
    # what a task's memory is measured by.
    (
        "mmap",
        (
            (2, *_only(PROT_READ | PROT_WRITE)),
            (3, *_only(MAP_FIXED | MAP_NORESERVE | MAP_STACK, MAP_PRIVATE | MAP_ANONYMOUS)),
        ),
    ),
    ("mprotect", ((2, *_only(PROT_READ | PROT_WRITE)),)),  # never code
    ("mremap", ((3, *_only(MREMAP_MAYMOVE)),)),  # a large block grows
    *(
        ("madvise", ((2, *_only(0, advice, bits=_INT)),))  # give pages back; nothing that shares, locks or swaps them
        for advice in (MADV_DONTNEED, MADV_FREE, MADV_NOHUGEPAGE)
    ),
    *(
        (call, ((0, *_only(STATIC_CLOCKS, bits=_INT)),))  # time.time, time.get_clock_info, time.sleep
        for call in ("clock_gettime", "clock_getres", "clock_nanosleep")
    ),
    *(
        # The interpreter's locks; not the rest, which had holes.
        ("futex", ((1, *_only(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME, command, bits=_INT)),))
        for command in (FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET)
    ),
)
"""Each condition checks all bits of its argument: what is not known to be harmless is refused."""

COUNT = len({*ALLOWED, *(call for call, _ in CONDITIONAL)})

REFUSED: Mapping[str, int] = {
    # libc falls back to clone, which is refused with EPERM like all the rest.
    "clone3": errno.ENOSYS,
}

HOSTILE: tuple[str, ...] = (
    # No Python program makes these by accident: whoever does is ended at once.
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise"),
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "mount_setattr"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "name_to_handle_at", "open_by_handle_at"),
    *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("keyctl", "add_key", "request_key", "init_module", "finit_module", "delete_module"),
    *("kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct", "quotactl", "iopl", "ioperm"),
    *("modify_ldt", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname"),
)

NO_SECCOMP = (
    "Linux's system call filter, seccomp, on x86-64 or arm64 is missing or forbidden. Use a kernel built with "
    "CONFIG_SECCOMP_FILTER (all common distributions' are); in a container, a seccomp profile that allows seccomp(2) "
    "and prctl(2), as Docker's and Podman's own do"
)

NO_RLIMITS = (
    "resource limits on a task's process cannot be set. Use a Linux kernel itself, not an emulation of one; in a "
    "container, a seccomp profile that allows prlimit64(2), as Docker's and Podman's own do"
)


def seccomp_program() -> bytes:
    """Return the filter for this machine's architecture; another one's calls end the process.

    Raises SandboxUnavailable if there is none for it.
    """
    machine = platform.machine()
    if machine not in PROGRAMS:
        raise SandboxUnavailable(f"{NO_SECCOMP} (this machine is '{machine}')")
    return PROGRAMS[machine]
