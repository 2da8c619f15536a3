"""Jobs that go for other processes: start them, signal them, read them, and outlive their own time."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from typing import Any

from tests.hostile_jobs.reach import Target, call, libc, module, payload, worked

FORK, SIGNAL, TRACE, MEMORY, TIMES, ESCAPE = (
    "forks and threads",
    "signals",
    "tracing",
    "memory and environment of others",
    "the time that others use",
    "limits and privileges",
)


YAMA = "it lets processes trace none but their children (Yama)"


def stay() -> None:
    while True:
        time.sleep(1)


# --- forks and threads ------------------------------------------------------------------------------------------------


@payload(FORK)
def fork(_key: str, _target: Target) -> Any:
    if os.fork() == 0:
        stay()


@payload(FORK)
def fork_twice_and_leave(_key: str, _target: Target) -> Any:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            stay()
        os._exit(0)


@payload(FORK)
def fork_many(_key: str, _target: Target) -> Any:
    for _ in range(30):
        if os.fork() == 0:
            stay()


@payload(FORK)
def fork_by_every_system_call(_key: str, _target: Target) -> Any:
    parent = libc().getpid()
    results = [call("clone", 17, 0, 0, 0, 0), call("fork"), call("clone3", bytes(32) + b"\x11" + bytes(31), 64)]
    if libc().getpid() != parent:
        stay()
    return worked(max(results) > 0)


@payload(FORK)
def start_a_thread(_key: str, _target: Target) -> Any:
    module("_thread").start_new_thread(time.sleep, (0.2,))
    return worked(success=True)


@payload(FORK)
def start_many_threads(_key: str, _target: Target) -> Any:
    import threading

    for _ in range(30):
        threading.Thread(target=time.sleep, args=(0.2,), daemon=True).start()
    return worked(threading.active_count() > 30)


@payload(FORK)
def start_a_thread_by_libc(_key: str, _target: Target) -> Any:
    ctypes = module("ctypes")
    handle = ctypes.c_ulong()
    start = ctypes.cast(libc().pause, ctypes.c_void_p)
    return worked(libc().pthread_create(ctypes.byref(handle), None, start, None) == 0)


@payload(FORK)
def start_a_process_pool(_key: str, _target: Target) -> Any:
    process = module("multiprocessing").get_context("fork").Process(target=int)
    process.start()
    process.join(1)
    return worked(process.exitcode == 0)


# --- signals ----------------------------------------------------------------------------------------------------------


@payload(SIGNAL)
def kill_the_zygote(_key: str, target: Target) -> Any:
    os.kill(target["zygote"], 9)


@payload(SIGNAL)
def kill_its_parent(_key: str, target: Target) -> Any:
    parent = os.getppid()
    os.kill(parent if parent > 1 else target["zygote"], 9)
    return worked(success=True)


@payload(SIGNAL, never="it would end all that this user runs")
def kill_everything(_key: str, _target: Target) -> Any:
    os.kill(-1, 9)


@payload(SIGNAL)
def kill_by_system_call(_key: str, target: Target) -> Any:
    results = []
    for victim in (target["zygote"], target["victim"]):
        calls = (("kill", victim, 9), ("tkill", victim, 9), ("tgkill", victim, victim, 9))
        results += [call(*arguments) for arguments in calls]
    return [("got", results)]


@payload(SIGNAL)
def kill_its_group(_key: str, _target: Target) -> Any:
    call("kill", 0, 9)


@payload(SIGNAL)
def stop_a_process(_key: str, target: Target) -> Any:
    os.kill(target["victim"], 19)


@payload(SIGNAL)
def signal_by_pidfd(_key: str, target: Target) -> Any:
    descriptor = call("pidfd_open", target["victim"], 0)
    return [("got", call("pidfd_send_signal", descriptor, 9, None, 0))]


@payload(SIGNAL)
def signal_by_queue(_key: str, target: Target) -> Any:
    told = module("ctypes").create_string_buffer(b"\x09\0\0\0" + bytes(4) + b"\xff\xff\xff\xff", 128)  # SI_QUEUE
    return [("got", call("rt_sigqueueinfo", target["victim"], 9, told))]


@payload(SIGNAL)
def signal_by_a_timer(_key: str, _target: Target) -> Any:
    timer = module("ctypes").create_string_buffer(8)
    return worked(call("timer_create", 1, None, timer) == 0)


@payload(SIGNAL)
def signal_its_parent_through_a_file(_key: str, target: Target) -> Any:
    fcntl = module("fcntl")
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, target["victim"])
    fcntl.fcntl(reader, 10, 9)  # F_SETSIG
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
    os.write(writer, b"x")


# --- tracing, and the memory of others --------------------------------------------------------------------------------


@payload(TRACE, unless=YAMA)
def trace_another(_key: str, target: Target) -> Any:
    return worked(libc().ptrace(0x4206, target["victim"], None, None) == 0)  # PTRACE_SEIZE


@payload(TRACE, unless="it lets processes trace none but their children (Yama), or it is root's")
def trace_the_worker(_key: str, target: Target) -> Any:
    return worked(libc().ptrace(0x4206, target["worker"], None, None) == 0)


@payload(TRACE)
def trace_itself(_key: str, _target: Target) -> Any:
    return worked(libc().ptrace(0, 0, None, None) == 0)


@payload(TRACE, unless="its kernel has no kcmp")
def compare_with_another(_key: str, target: Target) -> Any:
    return worked(call("kcmp", libc().getpid(), target["victim"], 1, 0, 0) >= 0)


def vector(address: int, size: int) -> bytes:
    """Return a struct iovec."""
    return address.to_bytes(8, "little") + size.to_bytes(8, "little")


@payload(MEMORY, unless=YAMA)
def read_the_memory_of_another(_key: str, target: Target) -> Any:
    ctypes = module("ctypes")
    buffer = ctypes.create_string_buffer(16)
    here, there = vector(ctypes.addressof(buffer), 15), vector(target["secret_address"], 15)
    for process in (target["zygote"], target["worker"]):
        call("process_vm_readv", process, here, 1, there, 1, 0)
    return [("memory", buffer.value)]


@payload(MEMORY, unless=YAMA)
def write_to_the_memory_of_another(_key: str, target: Target) -> Any:
    ctypes = module("ctypes")
    buffer = ctypes.create_string_buffer(b"canary")
    here, there = vector(ctypes.addressof(buffer), 1), vector(target["secret_address"], 1)
    return worked(call("process_vm_writev", target["zygote"], here, 1, there, 1, 0) == 1)


@payload(MEMORY, unless=YAMA)
def read_memory_by_proc(_key: str, target: Target) -> Any:
    found = []
    for process in (target["zygote"], target["worker"]):
        try:
            with open(f"/proc/{process}/mem", "rb", buffering=0) as file:
                file.seek(target["secret_address"])
                found.append((str(process), file.read(15)))
        except OSError as error:
            found.append((str(process), str(error).encode()))
    return found


@payload(MEMORY)
def follow_proc(_key: str, target: Target) -> Any:
    found: list[tuple[str, Any]] = []
    for path in ("/proc/self/environ", f"/proc/{target['zygote']}/environ", f"/proc/{target['worker']}/environ"):
        try:
            with open(path, "rb") as file:
                found.append((path, file.read()))
        except OSError as error:
            found.append((path, str(error)))
    return found


@payload(MEMORY)
def look_at_its_environment(_key: str, _target: Target) -> Any:
    ctypes = module("ctypes")
    environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    found = list(os.environ.values())
    for index in range(1000):
        if not environ or environ[index] is None:
            break
        found.append(environ[index].decode(errors="replace"))
    return [("got", found)]


@payload(MEMORY, never="there a job is in the worker itself")
def look_for_its_worker(_key: str, target: Target) -> Any:
    """Look for the worker's process id, in all that the interpreter and the frames below hold."""
    frame: Any = sys._getframe()
    number, found = target["worker"], []
    seen = [*sys.orig_argv, *sys.argv, *sys.path, *sys.warnoptions, repr(sys._xoptions), repr(dict(os.environ))]
    found += [text for text in seen if str(number) in text]
    while frame := frame.f_back:
        for held in (frame.f_locals, *([frame.f_globals] if frame.f_back is None else [])):
            found += [name for name, value in held.items() if holds(value, number, target)]
    libraries = [item for item in gc.get_objects() if type(item).__module__.startswith("ec262.")]
    found += [type(item).__name__ for item in libraries if holds(getattr(item, "__dict__", None), number, target)]
    return [*worked(found), ("got", found)]


def holds(value: Any, number: int, target: Target) -> bool:
    """Whether a value is, or holds, a number which is not in what the job was given."""
    if value is target:
        return False
    if isinstance(value, dict):
        return any(holds(item, number, target) for item in value.values())
    return bool(type(value) is int and value == number) or (type(value) is tuple and number in value)


@payload(MEMORY)
def look_through_its_own_memory(_key: str, target: Target) -> Any:
    ctypes = module("ctypes")
    held = [item for item in gc.get_objects() if isinstance(item, dict)]
    texts = [text for item in held for text in item.values() if isinstance(text, str) and text.startswith("canary")]
    with contextlib.suppress(OSError), open("/proc/self/maps") as maps:
        mapped = [tuple(int(end, 16) for end in line.split()[0].split("-")) for line in maps]
        if any(start <= target["secret_address"] < end for start, end in mapped):
            texts.append(ctypes.string_at(target["secret_address"]).decode())
    return [("got", texts)]


@payload(MEMORY, unless=YAMA)
def take_a_descriptor_of_another(_key: str, target: Target) -> Any:
    descriptor = call("pidfd_open", target["zygote"], 0)
    return worked(call("pidfd_getfd", descriptor, 1, 0) >= 0)


@payload(MEMORY, unless="its kernel lets only root")
def advise_on_the_memory_of_another(_key: str, target: Target) -> Any:
    page = vector(target["secret_address"] & -4096, 4096)
    return worked(call("process_madvise", call("pidfd_open", target["zygote"], 0), page, 1, 20, 0) >= 0)


# --- the time that others use -----------------------------------------------------------------------------------------


def clock_of(process: int, kind: int) -> int:
    """Return the id of a process's clock: kind 0 to 2 of all its threads, 4 to 6 of one thread."""
    return (~process << 3) | kind


@payload(TIMES, unless="a process of its own namespace may look at no others")
def read_the_clock_of_another(_key: str, target: Target) -> Any:
    buffer = module("ctypes").create_string_buffer(16)
    # In a pid namespace of its own a job sees only its first process, 1.
    processes = (target["victim"], target["worker"], target["zygote"], 1)
    return worked(
        any(
            call(name, clock_of(process, kind), buffer) == 0
            for name in ("clock_gettime", "clock_getres")
            for process in processes
            for kind in (0, 1, 2, 4, 5, 6)
        )
    )


@payload(TIMES)
def read_a_clock_by_python(_key: str, target: Target) -> Any:
    found = []
    for process in (target["zygote"], 1):
        with contextlib.suppress(OSError):
            found.append(time.clock_gettime(clock_of(process, 2)))
    return worked(found)


@payload(TIMES)
def sleep_by_the_clock_of_another(_key: str, target: Target) -> Any:
    none_at_all = bytes(16)
    results = [call("clock_nanosleep", clock_of(process, 2), 0, none_at_all, None) for process in (target["zygote"], 1)]
    return worked(0 in results)


@payload(TIMES)
def set_a_timer_on_the_clock_of_another(_key: str, target: Target) -> Any:
    timer = module("ctypes").create_string_buffer(8)
    results = [call("timer_create", clock_of(process, 2), None, timer) for process in (target["zygote"], 1)]
    return worked(0 in results)


@payload(TIMES)
def read_what_was_used(_key: str, target: Target) -> Any:
    buffer = module("ctypes").create_string_buffer(256)
    usage = [call("getrusage", who, buffer) for who in (0, -1)]
    limits = [call("prlimit64", process, 0, None, buffer) for process in (target["zygote"], 1)]
    return worked(0 in (*usage, *limits) or call("times", buffer) > 0)


# --- its own limits and privileges ------------------------------------------------------------------------------------


@payload(ESCAPE)
def change_its_limits(_key: str, _target: Target) -> Any:
    resource = module("resource")
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_NPROC):
        resource.setrlimit(kind, (resource.getrlimit(kind)[1],) * 2)
    return worked(success=True)


@payload(ESCAPE)
def change_the_limits_of_another(_key: str, target: Target) -> Any:
    return worked(call("prlimit64", target["zygote"], 4, bytes(16), None) == 0)


@payload(ESCAPE)
def survive_its_parent(_key: str, _target: Target) -> Any:
    return worked(0 in (libc().prctl(1, 0), libc().prctl(4, 1)))


@payload(ESCAPE)
def leave_its_session(_key: str, _target: Target) -> Any:
    return worked(libc().setpgid(0, 0) == 0 or libc().setsid() >= 0)


@payload(ESCAPE, never="an ordinary user cannot become root")
def become_root(_key: str, _target: Target) -> Any:
    calls = libc().setuid(0), libc().setgid(0), libc().setgroups(0, None), libc().setresuid(0, 0, 0)
    return worked(0 in calls)


@payload(ESCAPE)
def take_all_processors(_key: str, _target: Target) -> Any:
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    os.nice(0)
    return worked(success=True)


@payload(ESCAPE)
def ignore_signals(_key: str, _target: Target) -> Any:
    signals: Any = module("signal")
    for number in set(range(1, 65)) - {9, 19, 32, 33}:
        signals.signal(number, signals.SIG_IGN)
    stay()


@payload(ESCAPE)
def block_signals(_key: str, _target: Target) -> Any:
    signals: Any = module("signal")
    signals.pthread_sigmask(signals.SIG_BLOCK, range(1, 65))
    stay()
