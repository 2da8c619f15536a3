"""Functions of a job as bytes, and the packages that a worker must have to load them.

Functions of the job's own files travel by value, with the globals, helpers, closures and sibling modules that they
use. What is installed (in site-packages) travels by name: a worker must have it. The bytes are only ever loaded inside
a worker's sandbox.
"""

from __future__ import annotations

import dis
import inspect
import io
import marshal
import random
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import attrs
import cloudpickle

from ec262.domain.errors import FunctionNotPicklable, JobDefinitionError

Functions = Mapping[str, Callable[..., Any] | None]

_GENERATOR = getattr(random.seed, "__self__", None)
"""The one behind the functions of ``random``: ``from random import random`` is a method of it."""

MAX_FUNCTIONS_BYTES = 64 << 20

_WORKERS_OWN = {"cloudpickle", "ec262"}

ALWAYS_THERE = sys.stdlib_module_names | _WORKERS_OWN
"""Top-level modules that every worker has, or knows better than the foreman that it does not allow."""


@attrs.frozen(kw_only=True)
class PickledFunctions:
    """``data`` is what ``Work.functions`` carries; ``packages`` are the top-level names that it needs installed."""

    data: bytes = attrs.field(repr=False)
    packages: tuple[str, ...]


def pickle_functions(functions: Functions) -> PickledFunctions:
    """Pickle a job's functions by role.

    Raises FunctionNotPicklable, naming the function and the variable that cannot travel, and JobDefinitionError for a
    module that would be missing at the worker.
    """
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    with _own_modules_by_value():
        try:
            pickler.dump(dict(functions))
        except Exception as error:
            raise FunctionNotPicklable(_explain(functions, error)) from error
    data = buffer.getvalue()
    if len(data) > MAX_FUNCTIONS_BYTES:
        size, most = len(data) >> 20, MAX_FUNCTIONS_BYTES >> 20
        raise FunctionNotPicklable(
            f"the functions take {size} MiB with what they refer to, {most} MiB is the most: pass large data as rows"
        )
    return PickledFunctions(data=data, packages=tuple(sorted(pickler.packages)))


def pickle_by_value(value: object, *modules: str) -> bytes:
    """Pickle a value with these modules, which must be loaded, by value: sandboxes have little of ec262."""
    buffer = io.BytesIO()
    with _by_value([sys.modules[module] for module in modules]):
        _CodePickler(buffer).dump(value)
    return buffer.getvalue()


class _CodePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle ships no types
    """A cloudpickle pickler that keeps code as it is, file names and line numbers included.

    cloudpickle 3.1.3 replaces the file names, without which a traceback has no paths and no source lines.
    """

    def reducer_override(self, obj: Any) -> Any:
        """Reduce code to what ``marshal`` makes of it: the interpreter that loads it has the same bytecode."""
        if isinstance(obj, CodeType):
            return marshal.loads, (marshal.dumps(obj),)
        return super().reducer_override(obj)


class _Pickler(_CodePickler):
    """A pickler that notes which installed packages the pickle will import."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.packages: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Look at every object that is not of a plain built-in type before it is pickled."""
        if obj is _GENERATOR:  # by value it would bring its state along, and be no sandbox's own, seeded one
            return getattr, (random, "_inst")
        if isinstance(obj, ModuleType):
            self._need(obj.__name__)
        elif isinstance(obj, type | FunctionType):
            self._need(obj.__module__)
            if isinstance(obj, FunctionType) and not _is_installed(obj.__module__):
                for name in _imported_names(obj.__code__):
                    self._need_importable(name, obj)
        return super().reducer_override(obj)

    def _need(self, module: str | None) -> None:
        top = (module or "").partition(".")[0]
        if top and _is_installed(top) and top not in ALWAYS_THERE:
            self.packages.add(top)

    def _need_importable(self, module: str, function: FunctionType) -> None:
        """Note a module that a function imports when it runs: one of the job's own would not be there to import."""
        top = module.partition(".")[0]
        if top in ALWAYS_THERE:
            return
        if top in sys.modules and not _is_installed(top):
            raise JobDefinitionError(
                f"{function.__qualname__} imports {module!r} when it runs, where the job's own files are out of reach: "
                "move that import to the top of the file, so that the module travels with the function"
            )
        self.packages.add(top)


def _imported_names(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imported_names(constant)


_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def _is_installed(name: str | None) -> bool:
    """Whether a module belongs to this Python or its site-packages, and so is not the job's own."""
    module = sys.modules.get((name or "").partition(".")[0])
    if module is None or name == "__main__":  # None: made at run time, as a namedtuple's methods are
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return not hasattr(module, "__path__")  # built in; a namespace package is the job's own
    return _is_file_installed(file)


@lru_cache(maxsize=4096)
def _is_file_installed(file: str) -> bool:
    path = Path(file).resolve()
    return any(path.is_relative_to(folder) for folder in _INSTALLED)


@contextmanager
def _own_modules_by_value() -> Iterator[None]:
    """Have the job's own imported modules pickled by value, as cloudpickle does by itself for ``__main__``."""
    own = [
        module
        for name, module in list(sys.modules.items())
        if module is not None and name.partition(".")[0] not in {"__main__", *_WORKERS_OWN} and not _is_installed(name)
    ]
    with _by_value(own):
        yield


_registry = threading.RLock()
"""Held while cloudpickle's registry, of which there is one per process, has modules in it for one thread's pickle."""


@contextmanager
def _by_value(modules: Iterable[ModuleType]) -> Iterator[None]:
    with _registry:
        registered = cloudpickle.list_registry_pickle_by_value()
        added = [module for module in modules if module.__name__ not in registered and module.__name__ in sys.modules]
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in added:
                cloudpickle.unregister_pickle_by_value(module)


def _explain(functions: Functions, error: Exception) -> str:
    """Say which variable of which function cannot travel."""
    if isinstance(error, JobDefinitionError):
        return str(error)
    for role, function in functions.items():
        if function is None:
            continue
        for kind, name, value in _variables(function):
            problem = _problem_with(value)
            if problem:
                return (
                    f"the {role} ({_place(function)}) uses the {kind} {name!r} of type {type(value).__name__}, "
                    f"which cannot be sent to workers: {problem}. Make it inside the function, or use plain data."
                )
        problem = _problem_with(function)
        if problem:
            return f"the {role} ({_place(function)}) cannot be sent to workers: {problem}"
    return f"the functions cannot be sent to workers: {error}"


def _variables(function: Callable[..., Any]) -> Iterator[tuple[str, str, Any]]:
    try:
        variables = inspect.getclosurevars(function)
    except (TypeError, ValueError):  # not a Python function, or a closure that is not filled yet
        return
    for name, value in variables.nonlocals.items():
        yield "variable", name, value
    for name, value in variables.globals.items():
        yield "global", name, value
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not parameter.empty:
            yield "default of", name, parameter.default


def _problem_with(value: object) -> str:
    try:
        cloudpickle.dumps(value)
    except Exception as error:  # noqa: BLE001 - pickling runs the objects' own code, which may raise anything
        return str(error) or type(error).__name__
    return ""


def _place(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code else repr(function)
