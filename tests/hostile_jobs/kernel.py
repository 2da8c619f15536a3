"""Jobs that go for the kernel: its young interfaces, its namespaces, its keys, and the sandbox that it keeps."""

from __future__ import annotations

import os
import sys
from typing import Any

from tests.hostile_jobs.reach import Target, call, libc, module, payload, worked

URING, KERNEL, KEYS, NAMESPACES, SHARED, CONFINEMENT = (
    "io_uring",
    "other attack surface of the kernel",
    "keys",
    "mounts and namespaces",
    "shared memory",
    "the kernel's own confinement",
)
NO_NAMESPACES = "it allows ordinary users no namespaces"
NOT_BUILT = "it does without"


@payload(URING, unless=NOT_BUILT)
def set_up_io_uring(_key: str, _target: Target) -> Any:
    return worked(call("io_uring_setup", 8, module("ctypes").create_string_buffer(120)) >= 0)


@payload(URING, unless=NOT_BUILT)
def set_up_io_uring_with_a_kernel_thread(_key: str, _target: Target) -> Any:
    parameters = module("ctypes").create_string_buffer(120)
    parameters[8] = 2  # IORING_SETUP_SQPOLL
    return worked(call("io_uring_setup", 8, parameters) >= 0)


@payload(KERNEL, unless="only root may")
def load_a_bpf_program(_key: str, _target: Target) -> Any:
    attributes = (1).to_bytes(4, "little") * 4 + bytes(104)  # a hash map
    return worked(call("bpf", 0, attributes, 120) >= 0)


@payload(KERNEL, unless=NOT_BUILT)
def watch_performance(_key: str, _target: Target) -> Any:
    attributes = module("ctypes").create_string_buffer(120)
    attributes[0], attributes[4], attributes[40] = 1, 120, 0b1100000  # of its own, in user space only
    return worked(call("perf_event_open", attributes, 0, -1, -1, 0) >= 0)


@payload(KERNEL, unless=NOT_BUILT)
def handle_faults(_key: str, _target: Target) -> Any:
    return worked(call("userfaultfd", 1) >= 0)


@payload(KERNEL, unless=NOT_BUILT)
def hide_memory_from_the_kernel(_key: str, _target: Target) -> Any:
    return worked(call("memfd_secret", 0) >= 0)


@payload(KERNEL, unless="only x86-64 has it")
def change_its_descriptor_table(_key: str, _target: Target) -> Any:
    return worked(call("modify_ldt", 0, module("ctypes").create_string_buffer(16), 16) >= 0)


@payload(KEYS, unless=NOT_BUILT)
def add_a_key(_key: str, _target: Target) -> Any:
    return worked(call("add_key", b"user", b"ec262", b"x", 1, -2) > 0)


@payload(KEYS, unless=NOT_BUILT)
def search_for_keys(_key: str, _target: Target) -> Any:
    return worked(call("keyctl", 0, -3, 0) > 0 or call("request_key", b"user", b"ec262", None, 0) > 0)


@payload(NAMESPACES, unless=NO_NAMESPACES)
def make_a_user_namespace(_key: str, _target: Target) -> Any:
    return worked(libc().unshare(0x10000000) == 0)


@payload(NAMESPACES, unless=NO_NAMESPACES)
def make_every_namespace(_key: str, _target: Target) -> Any:
    return worked(libc().unshare(0x7E020000) == 0)


@payload(NAMESPACES, unless=NO_NAMESPACES)
def fork_into_a_user_namespace(_key: str, _target: Target) -> Any:
    parent = libc().getpid()
    result = call("clone", 0x10000011, 0, 0, 0, 0)
    if libc().getpid() != parent:
        os._exit(0)
    return worked(result > 0)


@payload(NAMESPACES, unless=NO_NAMESPACES)
def enter_a_namespace(_key: str, target: Target) -> Any:
    call("setns", call("pidfd_open", target["zygote"], 0), 0x10000000)
    libc().unshare(0x50000000)
    return worked(call("setns", libc().open(b"/proc/self/ns/net", 0), 0) == 0)


@payload(NAMESPACES, unless=NO_NAMESPACES)
def mount_something(_key: str, target: Target) -> Any:
    library = libc()
    library.unshare(0x10020000)
    return worked(library.mount(b"none", target["write_dir"].encode(), b"tmpfs", 0, None) == 0)


@payload(NAMESPACES, unless=NO_NAMESPACES)
def mount_by_the_new_calls(_key: str, _target: Target) -> Any:
    libc().unshare(0x10020000)
    results = call("fsopen", b"tmpfs", 0), call("open_tree", -100, b"/", 1)
    call("fsmount", results[0], 0, 0)
    call("move_mount", results[1], b"", -100, b"/", 4)
    call("mount_setattr", -100, b"/", 0, bytes(32), 32)
    return worked(max(results) >= 0)


@payload(NAMESPACES, unless=NO_NAMESPACES)
def change_its_root(_key: str, target: Target) -> Any:
    libc().unshare(0x10020000)
    folder = target["write_dir"].encode()
    return worked(libc().chroot(folder) == 0 or call("pivot_root", folder, folder) == 0)


@payload(NAMESPACES, unless=NO_NAMESPACES)
def rename_the_machine(_key: str, _target: Target) -> Any:
    libc().unshare(0x14000000)
    return worked(libc().sethostname(b"x", 1) == 0)


@payload(SHARED)
def share_memory(_key: str, _target: Target) -> Any:
    segment = libc().shmget(0, 4096, 0o1666)
    libc().shmctl(segment, 0, None)
    return worked(segment >= 0)


@payload(SHARED)
def queue_messages(_key: str, target: Target) -> Any:
    queue = libc().msgget(0, 0o1666)
    libc().msgctl(queue, 0, None)
    named = call("mq_open", target["abstract"].encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
    libc().mq_unlink(b"/" + target["abstract"].encode())
    return worked(max(queue, named) >= 0)


@payload(SHARED)
def share_a_semaphore(_key: str, _target: Target) -> Any:
    semaphore = libc().semget(0, 1, 0o1666)
    libc().semctl(semaphore, 0, 0, None)
    return worked(semaphore >= 0)


@payload(CONFINEMENT, never="there is none to get around")
def install_another_filter(_key: str, target: Target) -> Any:
    allow_all = b"\x06\x00\x00\x00\x00\x00\xff\x7f"
    kernel = sys.modules.get("ec262.adapters.sandbox.linux.child.kernel")
    if kernel is not None:
        kernel.install_filter(allow_all)
    with open(target["secret_file"]) as file:
        return [("got", file.read())]


@payload(CONFINEMENT, unless=NOT_BUILT)
def listen_to_its_own_filter(_key: str, _target: Target) -> Any:
    ctypes = module("ctypes")
    libc().prctl(38, 1, 0, 0, 0)
    program = ctypes.create_string_buffer(b"\x06\x00\x00\x00\x00\x00\xff\x7f", 8)
    header = (1).to_bytes(8, "little") + ctypes.addressof(program).to_bytes(8, "little")
    return worked(call("seccomp", 1, 8, header) >= 0)  # a descriptor that tells of calls, and may answer them


@payload(CONFINEMENT, unless=NOT_BUILT)
def make_landlock_rules(_key: str, _target: Target) -> Any:
    return worked(call("landlock_create_ruleset", b"\xff" + bytes(7), 8, 0) >= 0)


@payload(CONFINEMENT, never="there is none to get around")
def take_back_its_privileges(_key: str, target: Target) -> Any:
    library = libc()
    library.prctl(4, 1, 0, 0, 0)  # dumpable
    library.capset(b"\x22\x05\x08\x20" + bytes(4), b"\xff" * 24)
    library.setns(library.open(b"/proc/1/ns/mnt", 0), 0)
    library.chroot(b"/proc/1/root")
    with open(target["secret_file"]) as file:
        return [("got", file.read())]
