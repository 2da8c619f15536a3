"""Jobs that go for the disk, and for what the worker has open."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from tests.hostile_jobs.reach import Target, call, libc, module, payload


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
