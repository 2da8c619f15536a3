"""Jobs that go for other processes: start them, kill them, read them, become them."""

from __future__ import annotations

import os
import time
from typing import Any

from tests.hostile_jobs.reach import Target, call, libc, module, payload


@payload
def run_a_command(_key: str, target: Target) -> Any:
    return [("got", os.system(f"touch {target['write_dir']}/ran"))]


@payload
def run_a_program_by_subprocess(_key: str, target: Target) -> Any:
    return [("got", module("subprocess").run(["touch", target["write_dir"] + "/ran"]).returncode)]


@payload
def become_another_program(_key: str, target: Target) -> Any:
    os.execv("/bin/sh", ["sh", "-c", f"touch {target['write_dir']}/ran"])


@payload
def become_another_program_by_system_call(_key: str, target: Target) -> Any:
    ctypes = module("ctypes")
    arguments = (ctypes.c_char_p * 4)(b"sh", b"-c", f"touch {target['write_dir']}/ran".encode(), None)
    return [(str(number), call(number, b"/bin/sh", arguments, None)) for number in (59, 221)]


@payload
def run_from_memory(_key: str, _target: Target) -> Any:
    descriptor = os.memfd_create("x")
    os.write(descriptor, b"#!/bin/sh\ntrue\n")
    os.execve(descriptor, ["x"], {})


@payload
def fork(_key: str, target: Target) -> Any:
    if os.fork() == 0:
        while True:
            time.sleep(1)


@payload
def fork_twice_and_leave(_key: str, target: Target) -> Any:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                time.sleep(1)
        os._exit(0)


@payload
def fork_by_every_system_call(_key: str, _target: Target) -> Any:
    return [(str(number), call(number, 17, 0, 0, 0, 0)) for number in (56, 57, 58, 435, 220)]


@payload
def start_a_thread(_key: str, _target: Target) -> Any:
    import threading

    thread = threading.Thread(target=time.sleep, args=(60,))
    thread.start()


@payload
def start_a_process_pool(_key: str, _target: Target) -> Any:
    return [("got", module("multiprocessing").Pool(1).map(str, [1]))]


@payload
def kill_the_zygote(_key: str, _target: Target) -> Any:
    os.kill(os.getppid(), 9)


@payload
def kill_by_system_call(_key: str, target: Target) -> Any:
    results = []
    for victim in (target["victim"], target["zygote"], 0):
        results += [(str(number), call(number, victim, 9)) for number in (62, 200, 129, 130)]  # kill, tkill on each
    return results


@payload
def stop_a_process(_key: str, target: Target) -> Any:
    os.kill(target["victim"], 19)


@payload
def signal_by_pidfd(_key: str, target: Target) -> Any:
    return [("got", call(424, call(434, target["victim"], 0), 9, None, 0))]


@payload
def trace_the_worker(_key: str, target: Target) -> Any:
    return [("got", libc().ptrace(16, target["worker"], None, None))]


@payload
def trace_itself(_key: str, _target: Target) -> Any:
    return [("got", libc().ptrace(0, 0, None, None))]


@payload
def read_the_workers_memory(_key: str, target: Target) -> Any:
    ctypes = module("ctypes")
    buffer = ctypes.create_string_buffer(64)

    class Vector(ctypes.Structure):  # type: ignore[misc, name-defined]  # found at run time
        _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]  # noqa: RUF012 - ctypes wants it so

    here = Vector(ctypes.addressof(buffer), 64)
    there = Vector(target["secret_address"], 64)
    vectors = (ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    return [("got", libc().process_vm_readv(target["worker"], *vectors)), ("memory", buffer.raw)]


@payload
def read_the_workers_memory_by_proc(_key: str, target: Target) -> Any:
    with open(f"/proc/{target['worker']}/mem", "rb") as file:
        file.seek(target["secret_address"])
        return [("got", file.read(64))]


@payload
def change_its_limits(_key: str, _target: Target) -> Any:
    resource = module("resource")
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NPROC):
        resource.setrlimit(kind, (-1, -1))


@payload
def survive_its_parent(_key: str, _target: Target) -> Any:
    return [("pdeathsig", libc().prctl(1, 0)), ("dumpable", libc().prctl(4, 1)), ("sid", libc().setsid())]


@payload
def become_root(_key: str, _target: Target) -> Any:
    return [("uid", libc().setuid(0)), ("gid", libc().setgid(0)), ("groups", libc().setgroups(0, None))]
