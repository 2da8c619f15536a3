"""What jobs can import: modules that are loaded already, and others whose code is kept in memory.

A locked-in child can open no file. To load all that a job might want would make every worker's start slow, so the code
of most modules is only read beforehand, and run in the child that asks for it.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import NamedTuple

_HEADER_BYTES = 16  # of a .pyc file (PEP 552)
_UNCHECKED_HASH = 1


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
        self._rule = rule

    def add(self, name: str, folder: str) -> None:
        """Keep the code of a module or package, with all that is in it but tests, if ``folder`` has it."""
        inner = os.path.join(folder, name.rpartition(".")[2])  # noqa: PTH118 - pathlib is not worth its import here
        if os.path.isfile(inner + ".py"):  # noqa: PTH113 - likewise
            self._modules[name] = _Module(inner + ".py", None, _read(inner + ".py"))
        elif os.path.isdir(inner):  # noqa: PTH112 - likewise
            self._add_package(name, inner)

    def find_spec(self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None) -> ModuleSpec:
        """Find a module. Raises ModuleNotFoundError, which ends the search: nothing else is asked."""
        module = self._modules.get(name)
        if module is None:
            raise ModuleNotFoundError(
                f"module {name!r} is not available in the sandbox (rule: imports; {self._rule})", name=name
            )
        spec = ModuleSpec(name, self, origin=module.path, is_package=module.folder is not None)
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
        init = os.path.join(folder, "__init__.py")  # noqa: PTH118 - likewise
        if os.path.isfile(init):  # noqa: PTH113 - likewise
            self._modules[name] = _Module(init, folder, _read(init))
        for entry in sorted(os.listdir(folder)):  # noqa: PTH208 - likewise
            inner = entry.removesuffix(".py")
            if inner.isidentifier() and inner not in {"__init__", "__pycache__", "test", "tests"}:
                self.add(f"{name}.{inner}", folder)


def hide(names: Iterable[str]) -> None:
    """Have imports of these modules, and of what is in them, start from nothing."""
    hidden = set(names)
    for name in list(sys.modules):
        if name.partition(".")[0] in hidden:
            del sys.modules[name]


def _read(path: str) -> Callable[[], CodeType]:
    """Read a module's compiled code where it is up to date, else its source; return what makes code of it."""
    compiled = _contents(importlib.util.cache_from_source(path))
    if compiled[:4] == importlib.util.MAGIC_NUMBER and _is_current(compiled, path):
        return lambda: marshal.loads(memoryview(compiled)[_HEADER_BYTES:])  # noqa: S302 - the interpreter's own file
    source = _contents(path)
    return lambda: compile(source, path, "exec", dont_inherit=True)


def _is_current(compiled: bytes, path: str) -> bool:
    flags, modified, size = (int.from_bytes(compiled[start : start + 4], "little") for start in (4, 8, 12))
    if flags:
        return flags == _UNCHECKED_HASH
    status = os.stat(path)  # noqa: PTH116 - likewise
    return modified == int(status.st_mtime) & 0xFFFFFFFF and size == status.st_size & 0xFFFFFFFF


def _contents(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - likewise
            return file.read()
    except FileNotFoundError:
        return b""
