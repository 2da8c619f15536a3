"""Jobs that go for the network, and for the kernel's darker corners."""

from __future__ import annotations

import sys
from typing import Any

from tests.hostile_jobs.reach import Target, call, libc, module, payload


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
