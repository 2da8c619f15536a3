"""Jobs that want to run what is not Python: programs, and code of their own making."""

from __future__ import annotations

import os
from typing import Any

from tests.hostile_jobs.reach import NUMBERS, Target, call, libc, module, payload, worked

PROGRAMS, CODE = "running programs", "running machine code"

RETURN_42 = {True: b"\xb8\x2a\x00\x00\x00\xc3", False: b"\x40\x05\x80\x52\xc0\x03\x5f\xd6"}[NUMBERS["read"] == 0]


def shell(target: Target) -> list[str]:
    return ["sh", "-c", f": > {target['write_dir']}/ran"]


def runs(address: int | None) -> bool:
    """Call what is at an address; whether it is the code above."""
    ctypes = module("ctypes")
    if address in (None, ctypes.c_void_p(-1).value):
        return False
    ctypes.memmove(address, RETURN_42, len(RETURN_42))
    return bool(ctypes.CFUNCTYPE(ctypes.c_int)(address)() == 42)


@payload(PROGRAMS)
def run_a_command(_key: str, target: Target) -> Any:
    return [("got", os.system(f": > {target['write_dir']}/ran"))]


@payload(PROGRAMS)
def run_a_command_by_a_pipe(_key: str, target: Target) -> Any:
    return [("got", os.popen(f": > {target['write_dir']}/ran").read())]


@payload(PROGRAMS)
def run_a_program_by_subprocess(_key: str, target: Target) -> Any:
    return [("got", module("subprocess").run(shell(target)).returncode)]


@payload(PROGRAMS)
def spawn_a_program(_key: str, target: Target) -> Any:
    pid = os.posix_spawn("/bin/sh", shell(target), {})
    os.waitpid(pid, 0)


@payload(PROGRAMS)
def become_another_program(_key: str, target: Target) -> Any:
    os.execv("/bin/sh", shell(target))


@payload(PROGRAMS)
def become_another_program_by_system_call(_key: str, target: Target) -> Any:
    ctypes = module("ctypes")
    arguments = (ctypes.c_char_p * 4)(*[word.encode() for word in shell(target)], None)
    results = [call("execveat", -100, b"/bin/sh", arguments, None, 0), call("execve", b"/bin/sh", arguments, None)]
    return [("got", results)]


@payload(PROGRAMS)
def become_another_program_by_libc(_key: str, target: Target) -> Any:
    libc().execl(b"/bin/sh", *[word.encode() for word in shell(target)], None)


@payload(PROGRAMS)
def run_from_memory(_key: str, target: Target) -> Any:
    descriptor = call("memfd_create", b"x", 0)
    os.write(descriptor, f"#!/bin/sh\n: > {target['write_dir']}/ran\n".encode())
    os.execve(f"/proc/self/fd/{descriptor}", ["x"], {})


@payload(PROGRAMS)
def run_by_the_dynamic_linker(_key: str, target: Target) -> Any:
    for linker in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"):
        if os.path.exists(linker):
            os.execv(linker, [linker, "/bin/sh", *shell(target)[1:]])
    os.execv("/bin/sh", shell(target))


@payload(PROGRAMS)
def load_a_library(_key: str, _target: Target) -> Any:
    return worked(module("ctypes").CDLL("libutil.so.1"))


@payload(CODE)
def run_code_in_new_memory(_key: str, _target: Target) -> Any:
    return worked(runs(libc().mmap(None, 4096, 7, 0x22, -1, 0)))


@payload(CODE)
def run_code_in_memory_made_executable(_key: str, _target: Target) -> Any:
    page = libc().mmap(None, 4096, 3, 0x22, -1, 0)
    pointer = module("ctypes").c_void_p(page)
    done = 0 in (libc().mprotect(pointer, 4096, 7), call("pkey_mprotect", pointer, 4096, 7, -1))
    return worked(done and runs(page))


@payload(CODE, unless="its processors, or its kernel, do without")
def run_code_where_reading_means_running(_key: str, _target: Target) -> Any:
    call("personality", 0x0400000)  # READ_IMPLIES_EXEC
    return worked(runs(libc().mmap(None, 4096, 3, 0x22, -1, 0)))


@payload(CODE)
def run_code_from_a_memory_file(_key: str, _target: Target) -> Any:
    descriptor = call("memfd_create", b"x", 0)
    os.ftruncate(descriptor, 4096)
    writable = libc().mmap(None, 4096, 3, 1, descriptor, 0)
    executable = libc().mmap(None, 4096, 5, 1, descriptor, 0)
    ctypes = module("ctypes")
    ctypes.memmove(writable, RETURN_42, len(RETURN_42))
    return worked(ctypes.CFUNCTYPE(ctypes.c_int)(executable)() == 42)


@payload(CODE)
def run_code_in_attached_memory(_key: str, _target: Target) -> Any:
    library = libc()
    library.shmat.restype = module("ctypes").c_void_p
    segment = library.shmget(0, 4096, 0o1700)
    page = library.shmat(segment, None, 0o100000)  # SHM_EXEC
    library.shmctl(segment, 0, None)
    return worked(segment >= 0 and runs(page))


@payload(CODE)
def write_over_code(_key: str, _target: Target) -> Any:
    ctypes = module("ctypes")
    address = ctypes.cast(libc().getpagesize, ctypes.c_void_p).value
    descriptor = os.open("/proc/self/mem", os.O_RDWR)
    os.lseek(descriptor, address, 0)
    os.write(descriptor, RETURN_42)
    return worked(libc().getpagesize() == 42)


@payload(CODE)
def load_code_of_its_own_making(_key: str, target: Target) -> Any:
    path = os.path.join(target["write_dir"], "made.so")
    with open(path, "wb") as file:
        file.write(b"\x7fELF" + bytes(100))
    module("ctypes").CDLL(path)
