"""The pickler for functions: they travel by value, the packages that they need by name."""

from __future__ import annotations

import functools
import importlib.util
import io
import marshal
import random
import sys
import threading
import typing
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle

from ec262.adapters.jobs.own_modules import ALWAYS_THERE, exists, is_installed, is_own, top
from ec262.adapters.jobs.pickle_contents import imports
from ec262.domain.errors import JobDefinitionError

_GENERATOR = getattr(random.seed, "__self__", None)
"""The one behind the functions of ``random``: ``from random import random`` is a method of it."""

_Cached = type(functools.cache(len))

_DISPATCHER_CODE = functools.singledispatch(len).__code__  # type: ignore[attr-defined]  # it is a function


class CodePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle ships no types
    """A cloudpickle pickler that keeps code as it is, file names and line numbers included.

    cloudpickle 3.1.3 replaces the file names, without which a traceback has no paths and no source lines.
    """

    def reducer_override(self, obj: Any) -> Any:
        """Reduce code to what ``marshal`` makes of it: the interpreter that loads it has the same bytecode."""
        if isinstance(obj, CodeType):
            return marshal.loads, (marshal.dumps(obj),)
        return super().reducer_override(obj)


class JobPickler(CodePickler):
    """A pickler that notes which installed modules the functions import, at once or when they run.

    What the standard library's decorators make of the job's own functions travels by value, too.
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.modules: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Look at every object that is not of a plain built-in type before it is pickled."""
        if obj is _GENERATOR:  # by value it would bring its state along, and be no sandbox's own, seeded one
            return getattr, (random, "_inst")
        reduce = _BY_VALUE.get(type(obj))
        if reduce is not None and not _can_be_imported(obj):
            return reduce(obj)
        if isinstance(obj, ModuleType):
            if is_installed(obj.__name__) and top(obj.__name__) not in ALWAYS_THERE:
                self.modules.add(obj.__name__)
        elif isinstance(obj, FunctionType) and not _can_be_imported(obj):
            self.modules.update(_imported_by(obj))
            if obj.__code__ is _DISPATCHER_CODE:  # what it has looked up is in a dictionary of weak keys
                obj._clear_cache()  # type: ignore[attr-defined]  # noqa: SLF001 - functools gives it this attribute
        return super().reducer_override(obj)


_registry = threading.RLock()
"""Held while cloudpickle's registry, of which there is one per process, has modules in it for one thread's pickle."""


@contextmanager
def by_value(modules: Iterable[ModuleType]) -> Iterator[None]:
    """Have these modules pickled by value, as cloudpickle does by itself for ``__main__``."""
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


def _imported_by(function: FunctionType) -> Iterator[str]:
    """Name the modules that a function imports when it runs, other than the standard library's. Raises
    JobDefinitionError for one of the job's own, which would not be there to import."""
    for written, names in imports(function.__code__):
        module = _absolute(written, function)
        if module and top(module) in ALWAYS_THERE:
            continue
        if not module or is_own(module):
            told = written if written.strip(".") else f"{written}{names[0]}"
            raise JobDefinitionError(
                f"{function.__qualname__} imports {told!r} when it runs, where the job's own files are out of "
                "reach: move that import to the top of the file, so that the module travels with the function"
            )
        yield module
        yield from (inner for inner in (f"{module}.{name}" for name in names) if exists(inner))


def _absolute(module: str, function: FunctionType) -> str:
    """Return the full name of a module that a function imports; nothing where a relative import has no package."""
    package = function.__globals__.get("__package__") or ""
    try:
        return importlib.util.resolve_name(module, package)
    except ImportError:
        return ""


def _can_be_imported(obj: Any) -> bool:
    """Whether an object is what its name stands for in a module that is installed."""
    found: Any = sys.modules.get(obj.__module__) if is_installed(getattr(obj, "__module__", None)) else None
    for name in getattr(obj, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is obj


def _reduce_cached(obj: Any) -> Any:
    """``functools.cache`` and ``lru_cache``: they have no constructor but this, which lru_cache itself calls."""
    parameters = obj.cache_parameters()
    arguments = obj.__wrapped__, parameters["maxsize"], parameters["typed"], functools._CacheInfo  # noqa: SLF001 - see above
    return _Cached, arguments, vars(obj)


def _reduce_cached_property(obj: functools.cached_property[Any]) -> Any:
    """They have a lock until Python 3.12."""
    return functools.cached_property, (obj.func,), {"attrname": obj.attrname, "__doc__": obj.__doc__}


def _reduce_new_type(obj: Any) -> Any:
    return typing.NewType, (obj.__qualname__, obj.__supertype__)


def _reduce_weak_keys(obj: weakref.WeakKeyDictionary[Any, Any]) -> Any:
    """One of ``functools.singledispatch`` is empty. Others may lose their keys on the way: they are refused."""
    return (weakref.WeakKeyDictionary, ()) if not obj else obj.__reduce_ex__(4)


_BY_VALUE: dict[type, Callable[[Any], Any]] = {
    _Cached: _reduce_cached,
    functools.cached_property: _reduce_cached_property,
    typing.NewType: _reduce_new_type,
    weakref.WeakKeyDictionary: _reduce_weak_keys,
}
