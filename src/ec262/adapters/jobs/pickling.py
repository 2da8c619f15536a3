"""Functions of a job as bytes, and the packages that a worker must have to load them.

Functions of the job's own files travel by value, with the globals, helpers, closures and sibling modules that they
use. What is installed (in site-packages) travels by name: a worker must have it. The bytes are only ever loaded inside
a worker's sandbox.
"""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ec262.adapters.jobs.job_pickler import CodePickler, JobPickler, by_value
from ec262.adapters.jobs.own_modules import ALWAYS_THERE, exists, is_installed, own_modules, top
from ec262.adapters.jobs.pickle_contents import referred_to
from ec262.domain.errors import FunctionNotPicklable, JobDefinitionError

Functions = Mapping[str, Callable[..., Any] | None]

MAX_FUNCTIONS_BYTES = 64 << 20


@attrs.frozen(kw_only=True)
class PickledFunctions:
    """``data`` is what ``Work.functions`` carries; ``packages`` are the top-level names that it needs installed;
    ``modules`` are those of them that are installed here, and what it imports of them, in full."""

    data: bytes = attrs.field(repr=False)
    packages: tuple[str, ...]
    modules: tuple[str, ...]


def pickle_functions(functions: Functions) -> PickledFunctions:
    """Pickle a job's functions by role.

    Raises FunctionNotPicklable, naming the function and the variable that cannot travel, and JobDefinitionError for a
    module that would be missing at the worker.
    """
    with by_value(own_modules()):
        try:
            return _pickled(dict(functions))
        except Exception as error:
            raise FunctionNotPicklable(_explain(functions, error)) from error


def pickle_by_value(value: object, *modules: str) -> bytes:
    """Pickle a value with these modules, which must be loaded, by value: sandboxes have little of ec262."""
    buffer = io.BytesIO()
    with by_value([sys.modules[module] for module in modules]):
        CodePickler(buffer).dump(value)
    return buffer.getvalue()


def _pickled(value: object) -> PickledFunctions:
    """Pickle a value. Raises whatever its parts raise, JobDefinitionError if it is too large, and FunctionNotPicklable
    for what a worker could not import."""
    buffer = io.BytesIO()
    pickler = JobPickler(buffer)
    pickler.dump(value)
    data, modules = buffer.getvalue(), pickler.modules
    if len(data) > MAX_FUNCTIONS_BYTES:
        size, most = len(data) >> 20, MAX_FUNCTIONS_BYTES >> 20
        raise JobDefinitionError(
            f"the functions take {size} MiB with what they refer to, {most} MiB is the most: pass large data as rows"
        )
    for module, name in referred_to(data):
        if top(module) in ALWAYS_THERE:
            continue
        if not is_installed(module):
            raise FunctionNotPicklable(f"workers would look for {name!r} in {module!r}, which they do not have")
        modules.add(module)
    packages = {*map(top, modules)}
    return PickledFunctions(
        data=data,
        packages=tuple(sorted(packages)),
        modules=tuple(sorted(filter(exists, modules | packages))),
    )


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
        _pickled(value)
    except Exception as error:  # noqa: BLE001 - pickling runs the objects' own code, which may raise anything
        return str(error) or type(error).__name__
    return ""


def _place(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code else repr(function)
