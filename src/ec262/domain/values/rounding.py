"""Rounds floats to significant digits, for jobs whose last digits differ between honest machines.

Functions of the C library (``sin``, ``exp``, ``pow``) differ in their last bit between versions and processors, and
sums of floats differ between Python's minor versions. Rounded to 12 digits, such results are equal unless a number
happens to be exactly between two roundings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ec262.domain.errors import ValueNotEncodable
from ec262.domain.values.canonical import MAX_DEPTH

MAX_DIGITS = 15
"""A float preserves every decimal number of 15 digits, but not every one of 16."""


def round_floats(value: Any, digits: int) -> Any:
    """Return a value with its floats rounded to ``digits`` significant decimal digits (1 to ``MAX_DIGITS``).

    This includes the parts of complex numbers, and the floats inside lists, tuples, sets, frozensets and dicts (keys,
    too). Elements of a set that become equal become one. Values without a canonical form are returned unchanged, and so
    are bools, ints, -0.0, infinities, NaNs and floats that would round to infinity. Rounding twice is the same as
    rounding once. Raises ValueNotEncodable if keys of a dict become equal.
    """
    return _rounded(value, digits, MAX_DEPTH)


def _rounded(value: Any, digits: int, levels: int) -> Any:
    round_one = _ROUNDERS.get(type(value))
    # Values that are nested too deeply are refused later, when they are encoded.
    return value if round_one is None or levels < 0 else round_one(value, digits, levels - 1)


def _float(value: float, digits: int, _levels: int = 0) -> float:
    rounded = float(f"{value:.{digits - 1}e}")
    return rounded if math.isfinite(rounded) else value


def _complex(value: complex, digits: int, _levels: int) -> complex:
    return complex(_float(value.real, digits), _float(value.imag, digits))


def _list(value: list[Any], digits: int, levels: int) -> list[Any]:
    return [_rounded(item, digits, levels) for item in value]


def _tuple(value: tuple[Any, ...], digits: int, levels: int) -> tuple[Any, ...]:
    return tuple([_rounded(item, digits, levels) for item in value])


def _set(value: set[Any] | frozenset[Any], digits: int, levels: int) -> set[Any] | frozenset[Any]:
    return type(value)([_rounded(item, digits, levels) for item in value])


def _dict(value: dict[Any, Any], digits: int, levels: int) -> dict[Any, Any]:
    rounded = {_rounded(key, digits, levels): _rounded(item, digits, levels) for key, item in value.items()}
    if len(rounded) < len(value):
        raise ValueNotEncodable(f"keys of a dict become equal when rounded to {digits} digits", type_name="dict")
    return rounded


_ROUNDERS: dict[type, Callable[[Any, int, int], Any]] = {
    float: _float,
    complex: _complex,
    list: _list,
    tuple: _tuple,
    set: _set,
    frozenset: _set,
    dict: _dict,
}
