"""What the standard library's decorators make of a job's functions travels by value."""

from __future__ import annotations

import functools
import math
import weakref
from pathlib import Path
from typing import Any, NewType

import pytest

from ec262.adapters.jobs.pickling import pickle_functions
from ec262.domain.errors import FunctionNotPicklable
from tests.elsewhere import run_elsewhere


@functools.cache
def fibonacci(number: int) -> int:
    """Recursive, so its cache is among its own globals."""
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


@functools.lru_cache(maxsize=7, typed=True)
def cached(number: int) -> int:
    return number


factorial = functools.cache(math.factorial)
increased = functools.cache(lambda number: number + 1)


@functools.singledispatch
def kind(_value: Any) -> str:
    return "object"


@kind.register
def _(_value: int) -> str:
    return "int"


class Methods:
    calls = 0

    @functools.cached_property
    def cached(self) -> int:
        self.calls += 1
        return self.calls

    @functools.lru_cache  # noqa: B019 - as users have it
    def method(self, value: int) -> int:
        return value

    @classmethod
    @functools.cache
    def of_class(cls, value: int) -> str:
        return f"{cls.__name__} {value}"

    @functools.singledispatchmethod
    def kind(self, _value: Any) -> str:
        return "object"

    @kind.register
    def _(self, _value: int) -> str:
        return "int"

    def add(self, one: int, other: int) -> int:
        return one + other

    increase = functools.partialmethod(add, 1)


METHODS = Methods()

Meters = NewType("Meters", float)


@pytest.mark.parametrize(
    ("mapper", "result"),
    [
        (lambda _key, _value: [(fibonacci(30), fibonacci.cache_info().currsize)], [832040, 31]),
        (lambda _key, _value: [(cached(1), cached.cache_parameters())], [1, {"maxsize": 7, "typed": True}]),
        (lambda _key, _value: [(cached.__name__, cached.__wrapped__(2))], ["cached", 2]),
        (lambda _key, _value: [(factorial(4), increased(1))], [24, 2]),
        (lambda _key, _value: [(kind(1), kind(""))], ["int", "object"]),
        (lambda _key, _value, methods=METHODS: [(methods.cached, methods.cached)], [1, 1]),
        (lambda _key, _value: [(Methods().method(3), Methods.of_class(4))], [3, "Methods 4"]),
        (lambda _key, _value: [(Methods().kind(1), Methods().increase(2))], ["int", 3]),
        (lambda key, _value: [(Meters(2.5), Meters.__name__)], [2.5, "Meters"]),
        (functools.cache(lambda key, value: ((key, value),)), [1, "a b"]),
    ],
    ids=[
        "cache",
        "lru_cache",
        "attributes",
        "without a name of its own",
        "singledispatch",
        "cached_property",
        "methods",
        "methods of other kinds",
        "NewType",
        "the mapper itself",
    ],
)
def test_functions_made_by_standard_decorators_travel(mapper: Any, result: list[Any], tmp_path: Path) -> None:
    kind(0)
    cached(0)
    assert run_elsewhere(pickle_functions({"mapper": mapper}).data, tmp_path) == [result]
    assert kind(0) == "int"


def test_a_dictionary_of_weak_keys_does_not_lose_them_on_the_way() -> None:
    known = weakref.WeakKeyDictionary({METHODS: 1})
    with pytest.raises(FunctionNotPicklable, match="the variable 'known' of type WeakKeyDictionary"):
        pickle_functions({"mapper": lambda key, _value: [(key, len(known))]})
