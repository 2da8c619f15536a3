"""Jobs that go for files: by every road to read them, and to write them."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from tests.hostile_jobs.reach import Target, call, libc, module, payload, worked

READ, WRITE = "reading files", "writing files"


@payload(READ)
def read_a_file(_key: str, target: Target) -> Any:
    with open(target["secret_file"]) as file:
        return [("got", file.read())]


@payload(READ)
def read_a_file_by_descriptor(_key: str, target: Target) -> Any:
    return [("got", os.read(os.open(target["secret_file"], os.O_RDONLY), 100))]


@payload(READ)
def read_a_file_by_libc(_key: str, target: Target) -> Any:
    buffer = module("ctypes").create_string_buffer(100)
    descriptor = libc().open(target["secret_file"].encode(), 0)
    libc().read(descriptor, buffer, 100)
    return [("got", buffer.value)]


@payload(READ)
def read_a_file_by_system_call(_key: str, target: Target) -> Any:
    buffer = module("ctypes").create_string_buffer(100)
    path = target["secret_file"].encode()
    how = bytes(24)  # struct open_how: to read
    for descriptor in (call("open", path, 0), call("openat", -100, path, 0), call("openat2", -100, path, how, 24)):
        if descriptor >= 0:
            call("read", descriptor, buffer, 100)
    return [("got", buffer.value)]


@payload(READ, unless="its kernel has no x32 calls")
def read_a_file_by_x32_system_call(_key: str, target: Target) -> Any:
    buffer = module("ctypes").create_string_buffer(100)
    descriptor = call(0x40000000 | 257, -100, target["secret_file"].encode(), 0, 0)
    if descriptor >= 0:
        call(0x40000000, descriptor, buffer, 100)
    return [("got", buffer.value)]


@payload(READ, unless="only root can")
def read_a_file_by_handle(_key: str, target: Target) -> Any:
    buffer = module("ctypes").create_string_buffer(136)
    buffer[0:4] = (128).to_bytes(4, sys.byteorder)
    mount = module("ctypes").create_string_buffer(4)
    call("name_to_handle_at", -100, target["secret_file"].encode(), buffer, mount, 0)
    descriptor = call("open_by_handle_at", -100, buffer, 0)
    return [("got", os.read(descriptor, 100) if descriptor >= 0 else "")]


@payload(READ)
def read_a_file_by_a_symlink(_key: str, target: Target) -> Any:
    link = os.path.join(target["write_dir"], "link")
    os.symlink(target["secret_file"], link)
    with open(link) as file:
        return [("got", file.read())]


@payload(READ)
def read_a_file_by_a_detour(_key: str, target: Target) -> Any:
    found = []
    for root in ("/proc/self/root", f"/proc/{target['zygote']}/root", f"/proc/{target['victim']}/cwd"):
        with contextlib.suppress(OSError), open(root + target["secret_file"]) as file:
            found.append((root, file.read()))
    return found


@payload(READ)
def read_a_file_beyond_its_root(_key: str, target: Target) -> Any:
    for _ in range(50):
        with contextlib.suppress(OSError):
            os.chdir("..")
    with open("." + target["secret_file"]) as file:
        return [("got", file.read())]


@payload(READ)
def map_a_file(_key: str, target: Target) -> Any:
    with open(target["secret_file"], "rb") as file:
        return [("got", module("mmap").mmap(file.fileno(), 0, access=1)[:])]


@payload(READ)
def import_a_file(_key: str, target: Target) -> Any:
    sys.path.insert(0, target["write_dir"])
    sys.meta_path[:] = [importlib.machinery.PathFinder]
    sys.path_hooks[:] = [importlib.machinery.FileFinder.path_hook((importlib.machinery.SourceFileLoader, [".py"]))]
    return [("got", importlib.import_module("secret_module").SECRET)]


@payload(READ)
def read_by_a_new_loader(_key: str, target: Target) -> Any:
    loader = importlib.machinery.SourceFileLoader("x", target["secret_file"])
    return [("got", loader.get_data(target["secret_file"]))]


@payload(READ)
def walk_the_disk(_key: str, target: Target) -> Any:
    names = os.listdir(target["write_dir"])
    return worked("secret" in names or os.stat(target["secret_file"]).st_size)


@payload(READ)
def watch_the_disk(_key: str, target: Target) -> Any:
    watch = call("inotify_init1", 0)
    return worked(watch >= 0 or call("fanotify_init", 0, 0) >= 0)


@payload(READ)
def use_inherited_descriptors(_key: str, target: Target) -> Any:
    found = []
    for descriptor in [*range(20), *range(1000, 1030)]:
        for act in (lambda fd: os.pread(fd, 100, 0), lambda fd: os.readlink(f"/proc/self/fd/{fd}"), os.fstat, os.dup):
            try:
                found.append((str(descriptor), str(act(descriptor))))
            except OSError:
                continue
    return found


@payload(READ, never="nobody has put anything there")
def read_its_standard_descriptors(_key: str, _target: Target) -> Any:
    return [(str(descriptor), os.read(descriptor, 100)) for descriptor in (0, 1, 2)]


@payload(WRITE)
def write_a_file(_key: str, target: Target) -> Any:
    with open(os.path.join(target["write_dir"], "written"), "w") as file:
        file.write("was here")


@payload(WRITE)
def write_a_file_by_libc(_key: str, target: Target) -> Any:
    library = libc()
    descriptor = library.open(os.path.join(target["write_dir"], "written").encode(), os.O_WRONLY | os.O_CREAT, 0o666)
    library.write(descriptor, b"was here", 8)


@payload(WRITE)
def write_a_file_by_a_package(_key: str, target: Target) -> Any:
    import pathlib
    import zipfile

    with contextlib.suppress(OSError):
        pathlib.Path(target["write_dir"], "written").touch()
    with zipfile.ZipFile(os.path.join(target["write_dir"], "zipped"), "w") as archive:
        archive.writestr("x", "was here")


@payload(WRITE)
def write_through_a_mapping(_key: str, target: Target) -> Any:
    descriptor = os.open(target["secret_file"], os.O_RDWR)
    module("mmap").mmap(descriptor, 0)[0:3] = b"was"


@payload(WRITE)
def write_in_shared_memory(_key: str, target: Target) -> Any:
    path = f"/dev/shm/{target['abstract']}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    os.unlink(path)
    return worked(os.write(descriptor, b"was here"))


@payload(WRITE)
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


@payload(WRITE)
def fill_the_disk(_key: str, target: Target) -> Any:
    with open(os.path.join(target["write_dir"], "large"), "wb") as file:
        file.writelines(bytes(1 << 20) for _ in range(16))


@payload(WRITE)
def fill_the_disk_with_names(_key: str, target: Target) -> Any:
    for number in range(100):
        os.close(os.open(os.path.join(target["write_dir"], f"name{number}"), os.O_CREAT, 0o666))


@payload(WRITE)
def fill_memory_files(_key: str, _target: Target) -> Any:
    descriptor = call("memfd_create", b"x", 0)
    return worked(descriptor >= 0 and os.write(descriptor, bytes(1 << 20)))


@payload(WRITE, never="it would be in the test's output")
def write_to_standard_descriptors(_key: str, _target: Target) -> Any:
    for descriptor in (0, 1, 2):
        os.write(descriptor, b"was here")
