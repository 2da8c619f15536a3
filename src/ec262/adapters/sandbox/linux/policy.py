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

from ec262.adapters.sandbox.linux.programs import PROGRAMS
from ec262.domain.errors import SandboxUnavailable

PROT_EXEC = 0x4
MAP_ANONYMOUS = 0x20
FUTEX_COMMANDS = 0x7F
FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET = 0, 1, 9, 10

ALLOWED: Mapping[str, str] = {
    # What Python's memory allocator and its garbage collector need. Mappings and protections: see CONDITIONAL.
    "munmap": "give memory back",
    "mremap": "grow a large block",
    "madvise": "give pages back",
    "brk": "grow the heap",
    # The stream to the worker.
    "read": "the task",
    "write": "the answer",
    "close": "of the few descriptors there are",
    # Time, which most machines answer without a call at all.
    "clock_gettime": "time.time, time.monotonic, and so on",
    "clock_getres": "time.get_clock_info",
    "gettimeofday": "an older way",
    "time": "an older way (x86-64 only)",
    "clock_nanosleep": "time.sleep",
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
    ("mmap", ((2, PROT_EXEC, 0), (3, MAP_ANONYMOUS, MAP_ANONYMOUS))),  # memory, never a file, never code
    ("mprotect", ((2, PROT_EXEC, 0),)),  # never code
    *(
        ("futex", ((1, FUTEX_COMMANDS, command),))  # the interpreter's locks; not the rest, which had holes
        for command in (FUTEX_WAIT, FUTEX_WAKE, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET)
    ),
)

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
