"""What a pickle, and the code of functions, refer to by name."""

from __future__ import annotations

import dis
import io
import pickle
from collections.abc import Iterator
from types import CodeType
from typing import Any


def referred_to(data: bytes) -> frozenset[tuple[str, str]]:
    """Return what a pickle imports when it is loaded, as (module, name).

    Nothing is imported, and no function called. The pickle must be of this process's own making: to read it takes as
    much memory as to load it.
    """
    reader = _Reader(io.BytesIO(data))
    reader.load()
    return frozenset(reader.found)


class _Whatever(type):
    """The type of ``_Anything``: a class that can be called, made instances of and filled, and stays the same."""

    def __call__(cls, *_arguments: Any, **_named: Any) -> Any:
        return cls

    def __setstate__(cls, state: Any) -> None:
        """Forget the state."""

    def __setitem__(cls, key: Any, value: Any) -> None:
        """Forget the item."""

    def append(cls, item: Any) -> None:
        """Forget the item."""

    add = extend = append


class _Anything(metaclass=_Whatever):
    """Stands for every object that a pickle imports or makes by a call."""

    def __new__(cls, *_arguments: Any, **_named: Any) -> Any:
        return cls


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.found: set[tuple[str, str]] = set()

    def find_class(self, module: str, name: str, /) -> Any:
        """Note what is to be imported."""
        self.found.add((module, name))
        return _Anything


def imports(code: CodeType) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what code and the functions in it import when they run: a module, as it is written, dots included, and the
    names that are taken from it."""
    instructions = [each for each in dis.get_instructions(code) if each.opname != "EXTENDED_ARG"]
    for level, names, instruction in zip(instructions, instructions[1:], instructions[2:], strict=False):
        if instruction.opname == "IMPORT_NAME":
            yield "." * level.argval + instruction.argval, names.argval or ()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from imports(constant)
