"""Jobs that mean harm, each a mapper that is told what there is to harm.

They reach for what imports hide from honest jobs, and go on to the system call where Python would be in the way. What
they could get hold of they return; whether they did harm is judged from outside.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import importlib
import io
import os
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

Target = dict[str, Any]
Payload = Callable[[str, Target], Any]

PAYLOADS: dict[str, Payload] = {}


def payload(function: Payload) -> Payload:
    PAYLOADS[function.__name__] = function
    return function


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
    return library


def call(number: int, *arguments: Any) -> int:
    """Make a system call; return what it does, or the negative error number."""
    result = libc().syscall(number, *arguments)
    return int(result) if result != -1 else -int(module("ctypes").get_errno())


# --- files ----------------------------------------------------------------------------------------------------------


@payload
def read_a_file(_key: str, target: Target) -> Any:
    with open(target["secret_file"]) as file:
        return [("got", file.read())]


@payload
def read_a_file_by_descriptor(_key: str, target: Target) -> Any:
    return [("got", os.read(os.open(target["secret_file"], os.O_RDONLY), 100))]


@payload
def read_a_file_by_libc(_key: str, target: Target) -> Any:
    buffer = module("ctypes").create_string_buffer(100)
    descriptor = libc().open(target["secret_file"].encode(), 0)
    libc().read(descriptor, buffer, 100)
    return [("got", buffer.value)]


@payload
def read_a_file_by_system_call(_key: str, target: Target) -> Any:
    buffer = module("ctypes").create_string_buffer(100)
    for number in (2, 257, 437, 56):  # open, openat, openat2 on x86-64; openat on arm64
        descriptor = call(number, -100, target["secret_file"].encode(), 0, 0)
        call(0, descriptor, buffer, 100)
    return [("got", buffer.value)]


@payload
def read_a_file_by_x32_system_call(_key: str, target: Target) -> Any:
    buffer = module("ctypes").create_string_buffer(100)
    descriptor = call(0x40000000 | 257, -100, target["secret_file"].encode(), 0, 0)
    call(0x40000000, descriptor, buffer, 100)
    return [("got", buffer.value)]


@payload
def map_a_file(_key: str, target: Target) -> Any:
    with open(target["secret_file"], "rb") as file:
        return [("got", module("mmap").mmap(file.fileno(), 0, access=1)[:])]


@payload
def import_a_file(_key: str, target: Target) -> Any:
    sys.path.insert(0, target["write_dir"])
    sys.meta_path[:] = [importlib.machinery.PathFinder]
    sys.path_hooks[:] = [importlib.machinery.FileFinder.path_hook((importlib.machinery.SourceFileLoader, [".py"]))]
    return [("got", importlib.import_module("secret_module").SECRET)]


@payload
def read_by_a_new_loader(_key: str, target: Target) -> Any:
    loader = importlib.machinery.SourceFileLoader("x", target["secret_file"])
    return [("got", loader.get_data(target["secret_file"]))]


@payload
def walk_the_disk(_key: str, _target: Target) -> Any:
    return [("got", os.listdir("/")), ("cwd", os.getcwd()), ("stat", os.stat("/etc/passwd").st_size)]


@payload
def write_a_file(_key: str, target: Target) -> Any:
    with open(os.path.join(target["write_dir"], "written"), "w") as file:
        file.write("was here")


@payload
def write_a_file_by_libc(_key: str, target: Target) -> Any:
    library = libc()
    descriptor = library.open(os.path.join(target["write_dir"], "written").encode(), os.O_WRONLY | os.O_CREAT, 0o666)
    library.write(descriptor, b"was here", 8)


@payload
def change_the_disk(_key: str, target: Target) -> Any:
    canary = target["secret_file"]
    new = os.path.join(target["write_dir"], "new")
    acts: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (os.truncate, (canary, 0)),
        (os.chmod, (canary, 0o777)),
        (os.symlink, ("/etc/passwd", new + "1")),
        (os.link, (canary, new + "2")),
        (os.mkdir, (new + "3",)),
        (os.mkfifo, (new + "4",)),
        (os.utime, (canary, (0, 0))),
        (os.rename, (canary, canary + "2")),
        (os.unlink, (canary + "2",)),
    ]
    for act, arguments in acts:
        with contextlib.suppress(OSError):
            act(*arguments)


@payload
def follow_proc(_key: str, target: Target) -> Any:
    found: list[tuple[str, Any]] = []
    for path in ("/proc/self/environ", "/proc/self/maps", f"/proc/{target['worker']}/environ", "/proc/self/fd"):
        try:
            with open(path, "rb") as file:
                found.append((path, file.read()))
        except OSError as error:
            found.append((path, str(error)))
    return found


@payload
def use_inherited_descriptors(_key: str, target: Target) -> Any:
    found = []
    for descriptor in [*range(20), *range(1000, 1030)]:
        for act in (lambda fd: os.read(fd, 100), lambda fd: os.readlink(f"/proc/self/fd/{fd}"), os.fstat, os.dup):
            if descriptor == 3 and act.__name__ == "<lambda>":
                continue  # its own stream, where it would wait for ever
            try:
                found.append((str(descriptor), str(act(descriptor))))
            except OSError:
                continue
    return found


@payload
def write_to_standard_descriptors(_key: str, _target: Target) -> Any:
    for descriptor in (0, 1, 2):
        os.write(descriptor, b"was here")


# --- other processes ------------------------------------------------------------------------------------------------


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


# --- network --------------------------------------------------------------------------------------------------------


@payload
def connect_by_tcp(_key: str, target: Target) -> Any:
    socket = module("socket")
    socket.create_connection(("127.0.0.1", target["tcp"])).sendall(b"was here")


@payload
def send_by_udp(_key: str, target: Target) -> Any:
    socket = module("socket")
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"was here", ("127.0.0.1", target["udp"]))


@payload
def connect_by_unix_socket(_key: str, target: Target) -> Any:
    socket = module("socket")
    for address in (target["unix"], "\0" + target["abstract"]):
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(address)
        stream.sendall(b"was here")


@payload
def open_sockets_of_every_family(_key: str, _target: Target) -> Any:
    opened = []
    for family in range(46):
        for kind in (1, 2, 3, 5):
            number = libc().socket(family, kind, 0)
            if number != -1:
                opened.append((family, number))
    return opened


@payload
def make_a_pair_of_sockets(_key: str, _target: Target) -> Any:
    return [("got", len(module("socket").socketpair()))]


@payload
def open_a_socket_by_system_call(_key: str, _target: Target) -> Any:
    return [(str(number), call(number, 2, 1, 0)) for number in (41, 198, 0x40000000 | 41)]


# --- the kernel -----------------------------------------------------------------------------------------------------


@payload
def set_up_io_uring(_key: str, _target: Target) -> Any:
    return [("got", call(425, 8, module("ctypes").create_string_buffer(120)))]


@payload
def load_a_bpf_program(_key: str, _target: Target) -> Any:
    return [("got", call(321, 5, module("ctypes").create_string_buffer(120), 120))]


@payload
def make_a_user_namespace(_key: str, _target: Target) -> Any:
    return [("got", libc().unshare(0x10000000))]


@payload
def mount_something(_key: str, target: Target) -> Any:
    return [("got", libc().mount(b"none", target["write_dir"].encode(), b"tmpfs", 0, None))]


@payload
def use_the_keyring(_key: str, _target: Target) -> Any:
    return [("got", call(248, b"user", b"ec262", b"x", 1, -3))]


@payload
def watch_faults_and_performance(_key: str, _target: Target) -> Any:
    return [("fault", call(323, 0)), ("perf", call(298, module("ctypes").create_string_buffer(120), 0, -1, -1, 0))]


@payload
def share_memory(_key: str, _target: Target) -> Any:
    return [("shmget", libc().shmget(0x262, 4096, 0o1666)), ("msgget", libc().msgget(0x262, 0o1666))]


@payload
def run_machine_code(_key: str, _target: Target) -> Any:
    ctypes = module("ctypes")
    library = libc()
    library.mmap.restype = ctypes.c_void_p
    page = library.mmap(None, 4096, 7, 0x22, -1, 0)
    ctypes.memmove(page, b"\xb8\x2a\x00\x00\x00\xc3", 6)
    return [("got", ctypes.CFUNCTYPE(ctypes.c_int)(page)())]


@payload
def make_memory_executable(_key: str, _target: Target) -> Any:
    ctypes = module("ctypes")
    library = libc()
    library.mmap.restype = ctypes.c_void_p
    page = library.mmap(None, 4096, 3, 0x22, -1, 0)
    return [("mprotect", library.mprotect(ctypes.c_void_p(page), 4096, 5)), ("pkey", call(329, page, 4096, 5, -1))]


@payload
def install_another_filter(_key: str, _target: Target) -> Any:
    allow_all = b"\x06\x00\x00\x00\x00\x00\xff\x7f"
    kernel = sys.modules.get("ec262.adapters.sandbox.linux.child.kernel")
    if kernel is not None:
        kernel.install_filter(allow_all)
    with open("/etc/passwd") as file:
        return [("got", file.read())]


# --- crashes and the child's own conversation -----------------------------------------------------------------------


@payload
def exit_at_once(_key: str, _target: Target) -> Any:
    os._exit(0)


@payload
def crash_by_null_pointer(_key: str, _target: Target) -> Any:
    module("ctypes").string_at(0)


@payload
def abort(_key: str, _target: Target) -> Any:
    os.abort()


@payload
def close_its_stream_and_go_on(_key: str, _target: Target) -> Any:
    os.close(3)
    while True:
        time.sleep(1)


@payload
def close_everything(_key: str, _target: Target) -> Any:
    os.closerange(0, 100)


@payload
def announce_an_endless_result(_key: str, _target: Target) -> Any:
    os.write(3, b"R" + b"\xff" * 16)


@payload
def announce_a_huge_log(_key: str, _target: Target) -> Any:
    os.write(3, b"R" + bytes(8) + b"\xff" * 8)


@payload
def announce_a_result_and_be_silent(_key: str, _target: Target) -> Any:
    os.write(3, b"R" + (1000).to_bytes(8, "big") + bytes(8))
    time.sleep(60)


@payload
def send_part_of_an_answer(_key: str, _target: Target) -> Any:
    os.write(3, b"R\0\0")
    time.sleep(60)


@payload
def send_an_answer_of_no_kind(_key: str, _target: Target) -> Any:
    os.write(3, b"?" + bytes(16))


@payload
def claim_a_limit_with_a_terminals_commands(_key: str, _target: Target) -> Any:
    text = b"\x1b[2J\x07" + b"x" * 100_000
    os.write(3, b"M" + len(text).to_bytes(8, "big") + bytes(8) + text)


@payload
def flood_its_stream(_key: str, _target: Target) -> Any:
    while True:
        os.write(3, b"R" + bytes(16) + b"x" * 100_000)


@payload
def answer_with_a_pickle(_key: str, target: Target) -> Any:
    bomb = b"cos\nsystem\n(S'touch " + target["write_dir"].encode() + b"/ran'\ntR."
    os.write(3, b"R" + len(bomb).to_bytes(8, "big") + bytes(8) + bomb)


@payload
def replace_the_runners_parts(_key: str, _target: Target) -> Any:
    runner: Any = sys.modules["ec262.adapters.sandbox.runner"]
    runner.encode_outcome = lambda *_: b"forged"
    builtins.len = lambda *_: 0
    return []


@payload
def leave_traps_for_the_next_task(_key: str, _target: Target) -> Any:
    canonical: Any = sys.modules["ec262.domain.canonical"]
    canonical.encode = canonical.decode = canonical.encode_each = None
    builtins.sorted = builtins.print = None  # type: ignore[assignment]  # an attack
    sys.modules.clear()
    gc.disable()
    sys.setrecursionlimit(50)
    os.environ.clear()


@payload
def trap_whoever_looks_at_the_result(_key: str, _target: Target) -> Any:
    class Trap(str):
        def __eq__(self, _other: object) -> bool:
            raise SystemExit

        def __hash__(self) -> int:
            raise SystemExit

        def __del__(self) -> None:
            os._exit(7)

    return [(Trap("x"), Trap("y"))]


class _Bomb(Exception):
    def __repr__(self) -> str:
        os._exit(8)


@payload
def raise_what_bites_the_traceback(_key: str, _target: Target) -> Any:
    error = _Bomb()
    error.__cause__ = error
    raise error


@payload
def recurse_in_c(_key: str, _target: Target) -> Any:
    sys.setrecursionlimit(10**9)
    nested: Any = []
    for _ in range(10**6):
        nested = [nested]
    return [("got", repr(nested))]


@payload
def recurse_in_python(key: str, target: Target) -> Any:
    sys.setrecursionlimit(10**9)
    return recurse_in_python(key, target)


@payload
def return_what_is_deep(_key: str, _target: Target) -> Any:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    return [("deep", nested)]


@payload
def yield_for_ever(_key: str, _target: Target) -> Any:
    return ((number, "x" * 1000) for number in iter(int, 1))


@payload
def print_for_ever(_key: str, _target: Target) -> Any:
    while True:
        print("x" * 10_000)


@payload
def allocate_for_ever(_key: str, _target: Target) -> Any:
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


@payload
def allocate_at_once(_key: str, _target: Target) -> Any:
    return [("got", len(bytes(1 << 40)))]


@payload
def map_for_ever(_key: str, _target: Target) -> Any:
    library = libc()
    library.mmap.restype = module("ctypes").c_void_p
    addresses = [library.mmap(None, 1 << 24, 3, 0x22, -1, 0) for _ in range(200)]
    return [("got", sum(address not in (None, (1 << 64) - 1) for address in addresses) * 16)]


@payload
def catch_everything_and_sleep(_key: str, _target: Target) -> Any:
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


@payload
def reopen_standard_output(_key: str, _target: Target) -> Any:
    stream = io.FileIO(3, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(stream), write_through=True)
    print("R" + "\xff" * 16)
