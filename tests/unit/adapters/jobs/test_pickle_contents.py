"""What a pickle refers to is read from it without importing or calling anything."""

from __future__ import annotations

import array
import collections
import copyreg
import datetime
import decimal
import fractions
import io
import pickle
import re
import sys
import uuid
from pathlib import Path
from typing import Any

import attrs
import numpy
import pytest

from ec262.adapters.jobs.pickle_contents import referred_to


class Recorder(pickle.Unpickler):
    """Loads a pickle in earnest."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.found: set[tuple[str, str]] = set()

    def find_class(self, module: str, name: str, /) -> Any:
        self.found.add((module, name))
        return super().find_class(module, name)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self) -> None:
        self.a, self.b = decimal.Decimal(1), [self]


class Named:
    name: Any

    def __new__(cls, *, name: Any) -> Named:
        made = super().__new__(cls)
        made.name = name
        return made

    def __getnewargs_ex__(self) -> Any:
        return (), {"name": self.name}


class Odd:
    """Made by a call of what another call made, and then filled in each way that there is."""

    def __reduce__(self) -> Any:
        made_by_a_call = _Maker(fractions.Fraction(1, 2))
        return made_by_a_call, (uuid.UUID(int=1),), {"state": Path("a")}, iter([re.compile("a")]), iter([(1, 2)])


class _Maker:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, *_arguments: Any) -> Any:
        return _Filled()


class _Filled(collections.UserDict[Any, Any]):
    def append(self, item: Any) -> None:
        self["item"] = item

    extend = append


Point = collections.namedtuple("Point", "x y")


@attrs.frozen
class Value:
    inner: Any


loop: list[Any] = []
loop.append({"loop": (loop,)})

VALUES = [
    {"a": [1, 2.5, None, True, b"x", bytearray(b"y"), (1,), frozenset({2}), {3}]},
    loop,
    Slotted(),
    Named(name=datetime.datetime(2012, 12, 21, tzinfo=datetime.UTC)),
    Odd(),
    Point(1, complex(2)),
    Value(Value(collections.OrderedDict(a=collections.deque([1, 2], 3)))),
    {decimal.Decimal(1): {fractions.Fraction(1), Point(1, 2)}},
    collections.Counter("aab"),
    collections.defaultdict(list, a=[1]),
    array.array("d", [1.0]),
    ValueError("a", Value(1)),
    numpy.arange(6.0).reshape(2, 3),
    [numpy.float64(1), numpy.linalg.inv, numpy.sqrt, len, Slotted.__init__, Value],
    range(3),
    slice(1, 2),
    sys.stdlib_module_names,
]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_it_is_what_loading_would_import(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    recorder = Recorder(data)
    recorder.load()
    assert referred_to(data) == recorder.found


def test_nothing_is_imported_and_nothing_called() -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return print, ("called",)

    data = pickle.dumps([Bomb()]).replace(b"builtins", b"no_such_")
    assert referred_to(data) == {("no_such_", "print")}


def test_names_registered_as_extensions_are_seen() -> None:
    copyreg.add_extension(__name__, "Value", 262)
    try:
        assert referred_to(pickle.dumps(Value)) == {(__name__, "Value")}
    finally:
        copyreg.remove_extension(__name__, "Value", 262)
