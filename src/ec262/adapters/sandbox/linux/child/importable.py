"""What jobs can import: modules that are loaded already, and others whose code is kept in memory.

A locked-in child can open no file. To load all that a job might want would make every worker's start slow, so the code
of most modules is only read beforehand, and run in the child that asks for it.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from types import CodeType, ModuleType
from typing import Any, NamedTuple, cast

_HEADER_BYTES = 16  # of a .pyc file (PEP 552): magic number, then these fields
_HEADER = struct.Struct("<III")
_UNCHECKED_HASH = 1
_NATIVE = tuple(EXTENSION_SUFFIXES)
_LEFT_OUT = {"__init__", "__pycache__", "test", "tests"}


class _Module(NamedTuple):
    path: str
    folder: str | None
    """Where a package's submodules are, None for a plain module."""
    load: Callable[[], CodeType]


class Library:
    """The last word on imports: a finder and loader for what it holds, a clear refusal of everything else."""

    def __init__(self, rule: str) -> None:
        """``rule`` ends the text of a refusal: what may be imported."""
        self._modules: dict[str, _Module] = {}
        self._native: set[str] = set()
        self._rule = rule

    def add(self, name: str, folder: str) -> None:
        """Keep the code of a module or package, with all that is in it but tests, if ``folder`` has it and it is not
        there yet."""
        if name in self._modules:
            return
        inner = f"{folder}/{name.rpartition('.')[2]}"
        if os.path.isdir(inner):  # noqa: PTH112 - pathlib is not worth its import here
            self._add_package(name, inner)
        else:
            self._add_module(name, f"{inner}.py")

    def find_spec(self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None) -> ModuleSpec:
        """Find a module. Raises ModuleNotFoundError, which ends the search: nothing else is asked."""
        module = self._modules.get(name)
        if module is None:
            reason = self._rule
            if name in self._native:
                reason = (
                    "it is native code, which can only be loaded when the worker starts: a worker can --allow it by "
                    "name, and the embedded system loads what the job's own functions import"
                )
            raise ModuleNotFoundError(
                f"module {name!r} is not available in the sandbox (rule: imports; {reason})", name=name
            )
        # It has what the import system asks of a loader, without importlib.abc, which would take longer to load.
        spec = ModuleSpec(name, cast("Any", self), origin=module.path, is_package=module.folder is not None)
        spec.has_location = True
        if module.folder is not None:
            spec.submodule_search_locations = [module.folder]
        return spec

    def create_module(self, _spec: ModuleSpec) -> None:
        """Let Python make an ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        exec(self._modules[module.__name__].load(), vars(module))  # noqa: S102 - this is what an import does

    def _add_package(self, name: str, folder: str) -> None:
        self._add_module(name, f"{folder}/__init__.py", folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                inner = entry.name.removesuffix(".py")
                if entry.name.endswith(_NATIVE):
                    self._native.add(f"{name}.{entry.name.partition('.')[0]}")
                if not inner.isidentifier() or inner in _LEFT_OUT:
                    continue
                if entry.is_dir():
                    self._add_package(f"{name}.{inner}", entry.path)
                elif inner != entry.name:
                    self._add_module(f"{name}.{inner}", entry.path)

    def _add_module(self, name: str, path: str, folder: str | None = None) -> None:
        load = _read(path)
        if load is not None:
            self._modules[name] = _Module(path, folder, load)


def hide(names: Iterable[str]) -> None:
    """Have imports of these modules, and of what is in them, start from nothing."""
    hidden = set(names)
    for name in list(sys.modules):
        if name.partition(".")[0] in hidden:
            del sys.modules[name]


def _read(path: str) -> Callable[[], CodeType] | None:
    """Read a module's compiled code where it is up to date, else its source; return what makes code of it."""
    compiled = _contents(importlib.util.cache_from_source(path))
    if compiled is not None and compiled.startswith(importlib.util.MAGIC_NUMBER) and _is_current(compiled, path):
        return lambda: marshal.loads(memoryview(compiled)[_HEADER_BYTES:])  # noqa: S302 - the interpreter's own file
    source = _contents(path)
    return None if source is None else lambda: compile(source, path, "exec", dont_inherit=True)


def _is_current(compiled: bytes, path: str) -> bool:
    flags, modified, size = _HEADER.unpack_from(compiled, 4)
    if flags:
        return bool(flags == _UNCHECKED_HASH)
    status = os.stat(path)  # noqa: PTH116 - pathlib is not worth its import here
    return bool(modified == int(status.st_mtime) & 0xFFFFFFFF and size == status.st_size & 0xFFFFFFFF)


def _contents(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib is not worth its import here
            return file.read()
    except FileNotFoundError:
        return None
