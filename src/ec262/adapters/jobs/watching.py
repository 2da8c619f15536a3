"""A job's functions, watched: what one row changes for the rows after it.

As in ``variation``, the functions are wrapped in a pickle that does its work when it is loaded in the sandbox. What is
watched are the variables that a function of the job can reach: globals, closures, defaults, attributes of functions and
classes, also of the helpers that it uses. Before the first row and after each one their pickles are compared.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FunctionType, MethodType, ModuleType
from typing import Any

import cloudpickle

from ec262.adapters.jobs.pickling import pickle_by_value
from ec262.domain.work.work import Phase

_IMMUTABLE = (int, float, complex, str, bytes, tuple, frozenset, type(None))
_ROLES = {Phase.MAP: "mapper", Phase.REDUCE: "reducer"}

Function = Callable[..., Any]


def watch(functions: bytes, phase: Phase) -> bytes:
    """Return pickled functions whose mapper, or reducer, yields what its rows have changed, as keys: "the global 'seen'
    (list)". There is no combiner and no partitioner."""
    return pickle_by_value(_Loading(functions, _ROLES[phase]), __name__)


class _Loading:
    """Pickles as a call of ``load``."""

    def __init__(self, functions: bytes, role: str) -> None:
        self._arguments = functions, role

    def __reduce__(self) -> tuple[Function, tuple[bytes, str]]:
        return load, self._arguments


# --- what happens in the sandbox ------------------------------------------------------------------------------------


def load(functions: bytes, role: str) -> dict[str, Function]:
    """Load the functions; return the one of this role, watched."""
    function = pickle.loads(functions)[role]  # noqa: S301 - in the sandbox, where the job would be loaded otherwise
    before = dict(_state(function))
    told: set[str] = set()

    def watched(*row: Any) -> Iterator[tuple[str, int]]:
        for _ in function(*row) or ():
            pass
        changed = {name for name, state in _state(function) if before.get(name, state) != state} - told
        told.update(changed)
        for name in sorted(changed):
            yield name, 1

    return {role: watched}


def _state(function: Function) -> Iterator[tuple[str, bytes]]:
    """Yield what a function can reach, by name, as bytes."""
    for name, value in _variables(function, set()):
        try:
            yield f"{name} ({_type_name(value)})", cloudpickle.dumps(value)
        except Exception:  # noqa: BLE001, S112 - pickling runs the objects' own code; what cannot be pickled is left out
            continue


def _type_name(value: object) -> str:
    kind = type(value)
    return (
        kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}.{kind.__qualname__}"
    )


def _variables(value: object, seen: set[int]) -> Iterator[tuple[str, object]]:
    """Yield the variables that belong to a function, class or module of the job, and to those in its variables."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, MethodType):
        yield f"the object of the method {value.__func__.__name__}", value.__self__
        value = value.__func__
    for name, held in _held(value):
        if isinstance(held, FunctionType | MethodType | type | ModuleType):
            yield from _variables(held, seen)
        elif isinstance(held, _IMMUTABLE) or id(held) not in seen:  # several names may have one object
            seen.add(id(held))
            yield name, held


def _held(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, FunctionType):
        if value.__globals__.get("__spec__") is not None:  # of an installed module
            return
        yield from _named("the global {!r}", value.__globals__)
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            with suppress(ValueError):  # it is empty still
                yield f"the variable {name!r} around {value.__name__}", cell.cell_contents
        defaults = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
        yield from (
            (f"default value {number} of {value.__name__}", default) for number, default in enumerate(defaults, 1)
        )
        yield from _named(f"the attribute {{!r}} of {value.__name__}", vars(value))
    elif isinstance(value, type | ModuleType) and _is_the_jobs(value):
        yield from _named(f"the attribute {{!r}} of {value.__name__}", vars(value))


def _named(form: str, variables: Any) -> Iterator[tuple[str, object]]:
    for name, held in list(variables.items()):
        if not name.startswith("__"):
            yield form.format(name), held


def _is_the_jobs(value: type | ModuleType) -> bool:
    """Whether it travelled by value: nothing that can be imported here is it."""
    module = sys.modules.get(value.__module__ if isinstance(value, type) else value.__name__)
    found = getattr(module, value.__qualname__, None) if isinstance(value, type) else module
    return found is not value
