"""The seccomp programs that are shipped, run call by call in a small interpreter of the kernel's filter language."""

from __future__ import annotations

import errno
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from seccompy import syscall_nr

from ec262.adapters.sandbox.linux.seccomp.policy import ALLOWED, CONDITIONAL, HOSTILE, seccomp_program
from ec262.domain.errors import SandboxUnavailable
from tests.compile_policy import MODULE, exists, module_text, on

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386, ARM = 0x40000003, 0x40000028

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_PRIVATE, MAP_ANONYMOUS = 2, 0x20
FUTEX_WAKE = 1


NUMBERS: dict[str, tuple[int, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "gettimeofday": (96, 169),
    "gettid": (186, 178),
    "time": (201, None),
    "futex": (202, 98),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
}
"""On x86-64 and arm64."""


ARGUMENTS: dict[str, tuple[int, ...]] = {
    "mmap": (0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS),
    "mprotect": (4096, 4096, PROT_READ | PROT_WRITE),
    "mremap": (4096, 4096, 8192, 1),
    "madvise": (4096, 4096, 4),
}
"""Arguments that satisfy the conditions of a call, for calls that zeros do not satisfy."""


class Machine:
    """A machine of some architecture with the program installed."""

    def __init__(self, name: str) -> None:
        self.audit = ARCHITECTURES[name]
        self.program = list(struct.iter_unpack("<HBBI", seccomp_program()))

    def verdict(self, call: str | int, *args: int, audit: int | None = None) -> int:
        number = syscall_nr(call)
        words = (*args, 0, 0, 0, 0, 0, 0)[:6]
        data = struct.pack("<IIQ6Q", number, self.audit if audit is None else audit, 0, *words)
        accumulator, at = 0, 0
        while True:
            code, if_true, if_false, k = self.program[at]
            at += 1
            match code:
                case 0x20:
                    accumulator = struct.unpack_from("<I", data, k)[0]
                case 0x54:
                    accumulator &= k
                case 0x06:
                    return int(k)
                case 0x05:
                    at += k
                case 0x15:
                    at += if_true if accumulator == k else if_false
                case _:
                    raise AssertionError(f"instruction {code:#x} is not expected in this program")


@pytest.fixture(params=sorted(ARCHITECTURES))
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with on(request.param):
        yield Machine(request.param)


def test_allowed_system_calls_are_allowed(machine: Machine) -> None:
    allowed = {call for call in ALLOWED if exists(call)}
    assert {call for call in allowed if machine.verdict(call) != ALLOW} == set()
    assert set(ALLOWED) - allowed <= {"time"}


def test_the_numbers_are_right(machine: Machine) -> None:
    """Against numbers from the kernel's own tables (unistd_64.h, asm-generic/unistd.h), not from the library's."""
    column = 0 if machine.audit == ARCHITECTURES["x86_64"] else 1
    expected = {numbers[column] for numbers in NUMBERS.values()} - {None}
    arguments = {NUMBERS[call][column]: words for call, words in ARGUMENTS.items()}
    assert {
        number for number in range(1024) if machine.verdict(number, *arguments.get(number, ())) == ALLOW
    } == expected
    assert set(NUMBERS) == {*ALLOWED, *(call for call, _ in CONDITIONAL)}


def test_the_document_explains_each_call() -> None:
    document = (Path(__file__).parents[4] / "docs" / "sandbox.md").read_text()
    table = document.partition("| call | purpose |")[2].partition("\n\n")[0]
    told = {
        name
        for line in table.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }
    assert told == {*ALLOWED, *(call for call, _ in CONDITIONAL)}


def test_everything_else_is_refused_or_ends_the_process(machine: Machine) -> None:
    allowed = {syscall_nr(call) for call in ALLOWED if exists(call)}
    conditional = {syscall_nr(call) for call, _ in CONDITIONAL}
    hostile = {syscall_nr(call) for call in HOSTILE if exists(call)}
    for number in range(600):
        if number not in allowed | conditional:
            expected = KILL if number in hostile else ENOSYS if number == syscall_nr("clone3") else EPERM
            assert machine.verdict(number) == expected, number


@pytest.mark.parametrize("call", ["openat", "execve", "clone", "socket", "kill", "prlimit64", "rt_sigaction", "dup"])
def test_harmless_calls_of_python_code_fail_with_an_error(machine: Machine, call: str) -> None:
    assert machine.verdict(call) == EPERM


def test_a_hostile_call_that_no_architecture_has_is_a_typing_error() -> None:
    assert {call for call in HOSTILE if not exists(call)} <= {"iopl", "ioperm", "modify_ldt"}


def test_memory_can_be_mapped_but_not_as_code_or_file(machine: Machine) -> None:
    plain = PROT_READ | PROT_WRITE
    private = MAP_PRIVATE | MAP_ANONYMOUS
    assert machine.verdict("mmap", 0, 4096, plain, private) == ALLOW
    assert machine.verdict("mmap", 0, 4096, plain | PROT_EXEC, private) == EPERM
    assert machine.verdict("mmap", 0, 4096, plain, MAP_PRIVATE, 3) == EPERM
    assert machine.verdict("mmap", 0, 4096, PROT_EXEC, MAP_PRIVATE, 3) == EPERM
    assert machine.verdict("mprotect", 4096, 4096, plain) == ALLOW
    assert machine.verdict("mprotect", 4096, 4096, PROT_READ | PROT_EXEC) == EPERM
    assert machine.verdict("pkey_mprotect", 4096, 4096, PROT_READ | PROT_EXEC) == EPERM


EACH_BIT = [0, *(1 << bit for bit in range(64))]


def bits_allowed(machine: Machine, call: str, index: int) -> set[int]:
    """Return the bits that can be changed, one at a time, in an argument of a call that is allowed."""
    words = [*ARGUMENTS.get(call, ()), 0, 0, 0, 0, 0, 0][:6]
    assert machine.verdict(call, *words) == ALLOW
    return {
        bit
        for bit in EACH_BIT[1:]
        if machine.verdict(call, *words[:index], words[index] ^ bit, *words[index + 1 :]) == ALLOW
    }


def test_all_bits_of_flags_are_checked(machine: Machine) -> None:
    map_fixed, map_noreserve, map_stack = 0x10, 0x4000, 0x20000
    assert bits_allowed(machine, "mmap", 3) == {map_fixed, map_noreserve, map_stack}
    assert bits_allowed(machine, "mmap", 2) == {PROT_READ, PROT_WRITE}
    assert bits_allowed(machine, "mprotect", 2) == {PROT_READ, PROT_WRITE}
    assert bits_allowed(machine, "mremap", 3) == {1}  # MREMAP_MAYMOVE, which may be left out
    upper_half = {1 << bit for bit in range(32, 64)}  # of an int: the kernel does not look at it
    assert bits_allowed(machine, "clock_gettime", 0) == {1, 2, 4, 8} | upper_half
    assert bits_allowed(machine, "futex", 1) == {FUTEX_WAKE, 0x80, 0x100} | upper_half


@pytest.mark.parametrize("kind", [0x0, 0x1, 0x3, 0x8])  # none, SHARED, SHARED_VALIDATE, DROPPABLE
def test_memory_is_never_shared(machine: Machine, kind: int) -> None:
    for others in (0, *EACH_BIT[5:32], *(MAP_ANONYMOUS | bit for bit in EACH_BIT[5:32])):
        assert machine.verdict("mmap", 0, 4096, PROT_READ | PROT_WRITE, kind | others) == EPERM


def test_memory_allocators_get_what_they_use(machine: Machine) -> None:
    for extra in (0, 0x4000, 0x20000, 0x4000 | 0x20000, 0x10, 0x10 | 0x4000):
        for protection in (0, PROT_READ, PROT_READ | PROT_WRITE):
            assert (
                machine.verdict("mmap", 0, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS | extra, -1 & 2**64 - 1)
                == ALLOW
            )
    assert {advice for advice in range(1 << 12) if machine.verdict("madvise", 4096, 4096, advice) == ALLOW} == {
        *(4, 8),  # DONTNEED, FREE
        15,  # NOHUGEPAGE
    }


@pytest.mark.parametrize("call", ["clock_gettime", "clock_getres", "clock_nanosleep"])
def test_only_static_clocks_are_read(machine: Machine, call: str) -> None:
    assert {clock for clock in range(1 << 12) if machine.verdict(call, clock) == ALLOW} == set(range(16))
    for process in (0, 1, 2, 1234, 1 << 22):
        for kind in range(8):  # clocks of processes, of threads, and of descriptors
            for word in (-1, (1 << 32) - 1):  # as a long, and with nothing in the upper half
                assert machine.verdict(call, ((~process << 3) | kind) & (1 << 64) - 1 & word) == EPERM


@pytest.mark.parametrize("call", ["timer_create", "getrusage", "times", "prlimit64", "timerfd_create", "memfd_create"])
def test_other_ways_to_times_and_to_memory_are_refused(machine: Machine, call: str) -> None:
    assert machine.verdict(call) == EPERM


def test_locks_work_and_the_rest_of_futex_does_not(machine: Machine) -> None:
    private, realtime = 128, 256
    verdicts = {command: machine.verdict("futex", 4096, command | private) for command in range(20)}
    assert {command for command, verdict in verdicts.items() if verdict == ALLOW} == {0, 1, 9, 10}
    assert machine.verdict("futex", 4096, 9 | private | realtime) == ALLOW


def test_calls_of_another_architecture_end_the_process(machine: Machine) -> None:
    others = {*ARCHITECTURES.values(), I386, ARM} - {machine.audit}
    assert {machine.verdict("read", audit=other) for other in others} == {KILL}


def test_the_x32_twins_of_allowed_calls_are_refused(machine: Machine) -> None:
    x32 = 0x40000000
    assert {machine.verdict(syscall_nr(call) | x32) for call in ALLOWED if exists(call)} == {EPERM}


def test_an_unknown_architecture_has_no_sandbox() -> None:
    with on("riscv64"), pytest.raises(SandboxUnavailable, match=r"seccomp, on x86-64 or arm64.*'riscv64'"):
        seccomp_program()


def test_the_shipped_programs_are_the_policy_compiled() -> None:
    assert MODULE.read_text() == module_text(), "run `python -m tests.compile_policy`"


def test_no_compiler_is_needed_at_run_time() -> None:
    code = (
        "import sys; sys.modules['seccompy'] = None; "
        "from ec262.adapters.sandbox.linux.seccomp.policy import seccomp_program; print(len(seccomp_program()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{len(seccomp_program())}\n"), done.stderr
