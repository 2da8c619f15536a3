"""Converts values to the text of their canonical form, as defined in ``ec262.domain.values.canonical``."""

from __future__ import annotations

import enum
import math
from binascii import b2a_base64
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from ec262.domain.errors import ValueNotEncodable, key_text
from ec262.domain.values.hash_tables import check_dict, check_set
from ec262.domain.values.plain_json import MAX_NUMBER, is_unicode, plain_text, quoted

MAX_DEPTH = 100
"""How deep containers may nest."""

_MANY_ITEMS = 8
"""Containers with fewer items are not checked for the shortcut."""

_CHECKED_DEPTHS = frozenset({*range(9), *range(8, MAX_DEPTH + 1, 8)})
"""The depths at which containers are checked. Each check covers several levels, so a check at every depth would take
many times as long."""

_MAX_STEP_CHARS = 60
_MAX_WHERE_CHARS = 200


def canonical_text(value: Any, around: int) -> str:
    """Return the text of a value's canonical form inside ``around`` containers. Raises ValueNotEncodable."""
    try:
        return _text(value, around)
    except _Refused as refused:
        raise refused.error() from None


class _Refused(Exception):
    """A value has no canonical form. The path to it is collected on the way out, innermost step first."""

    def __init__(self, reason: str, value: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.type_name = _type_name(type(value))
        self.steps: list[str] = []

    def error(self) -> ValueNotEncodable:
        where = _cut("".join(reversed(self.steps)), _MAX_WHERE_CHARS)
        return ValueNotEncodable(self.reason, type_name=self.type_name, where=where)


def _text(value: Any, depth: int) -> str:
    """Return the text of a value's canonical form inside ``depth`` containers."""
    kind = type(value)
    scalar = _SCALARS.get(kind)
    if scalar is not None:
        return scalar(value)
    container = _CONTAINERS.get(kind)
    if container is None:
        raise _Refused(_why_not(value), value)
    if depth == MAX_DEPTH:
        raise _Refused(f"containers are nested more than {MAX_DEPTH} levels deep, or one contains itself", value)
    return container(value, depth + 1)


# --- scalars --------------------------------------------------------------------------------------------------------


def _none(_value: None) -> str:
    return "null"


def _bool(value: Any) -> str:
    return "true" if value else "false"


def _int(value: int) -> str:
    return repr(value) if -MAX_NUMBER <= value <= MAX_NUMBER else f'{{"$int":"{value:#x}"}}'


def _float(value: float) -> str:
    return repr(value) if math.isfinite(value) else f'{{"$float":"{value!r}"}}'


def _complex(value: complex) -> str:
    return f'{{"$complex":[{_float(value.real)},{_float(value.imag)}]}}'


def _str(value: str) -> str:
    return quoted(value) if is_unicode(value) else f'{{"$str":"{_base64(value.encode("utf-8", "surrogatepass"))}"}}'


def _bytes(value: bytes | bytearray) -> str:
    return f'{{"${type(value).__name__}":"{_base64(value)}"}}'


def _base64(data: bytes | bytearray) -> str:
    return b2a_base64(data, newline=False).decode()


_SCALARS: dict[type, Callable[[Any], str]] = {
    type(None): _none,
    bool: _bool,
    int: _int,
    float: _float,
    complex: _complex,
    str: _str,
    bytes: _bytes,
    bytearray: _bytes,
}


# --- containers: ``depth`` is the number of containers around the items, including this one -------------------------


def _list(value: list[Any] | tuple[Any, ...], depth: int) -> str:
    if (
        len(value) >= _MANY_ITEMS
        and depth in _CHECKED_DEPTHS
        and (text := plain_text(list(value), MAX_DEPTH + 1 - depth))
    ):
        return text
    return f"[{','.join(_items(value, range(len(value)), depth))}]"


def _tuple(value: tuple[Any, ...], depth: int) -> str:
    return f'{{"$tuple":{_list(value, depth)}}}'


def _set(value: set[Any] | frozenset[Any], depth: int) -> str:
    texts = _unnamed(value, "{...}", depth)
    _check_members(check_set, texts, value)
    return f'{{"${type(value).__name__}":[{",".join(sorted(texts))}]}}'


def _dict(value: dict[Any, Any], depth: int) -> str:
    if len(value) >= _MANY_ITEMS and depth in _CHECKED_DEPTHS and (text := plain_text(value, MAX_DEPTH + 1 - depth)):
        return text
    keys = _unnamed(value, ".keys()", depth)
    items = _items(value.values(), list(value), depth)
    if all(key[0] == '"' and key[1] != "$" for key in keys):
        by_key = sorted(zip(value, keys, items, strict=True), key=itemgetter(0))
        return f"{{{','.join([f'{key}:{item}' for _, key, item in by_key])}}}"
    _check_members(check_dict, keys, value)
    by_text = sorted(zip(keys, items, strict=True), key=itemgetter(0))
    return f'{{"$dict":[{",".join([f"[{key},{item}]" for key, item in by_text])}]}}'


def _items(items: Iterable[Any], names: Sequence[Any], depth: int) -> list[str]:
    """Return the texts of a container's items; ``names`` are their subscripts."""
    texts: list[str] = []
    try:
        for item in items:
            texts.append(_text(item, depth))  # noqa: PERF401 - the length shows which item was refused
    except _Refused as refused:
        refused.steps.append(f"[{_cut(key_text(names[len(texts)]), _MAX_STEP_CHARS)}]")
        raise
    return texts


def _unnamed(items: Iterable[Any], step: str, depth: int) -> list[str]:
    try:
        return [_text(item, depth) for item in items]
    except _Refused as refused:
        refused.steps.append(step)
        raise


def _check_members(check: Callable[[Sequence[Any]], None], texts: list[str], container: Collection[Any]) -> None:
    """Refuse members with the same text, and members that would take long to read."""
    members = dict(zip(texts, container, strict=True))
    if len(members) < len(texts):
        raise _Refused(
            "several NaNs in a set or as keys of a dict have no canonical form, because all NaNs are encoded alike",
            container,
        )
    try:
        check([members[text] for text in sorted(texts)])  # the order in which readers insert them
    except ValueError as error:
        raise _Refused(str(error), container) from None


_CONTAINERS: dict[type, Callable[[Any, int], str]] = {
    list: _list,
    tuple: _tuple,
    set: _set,
    frozenset: _set,
    dict: _dict,
}


# --- refusals -------------------------------------------------------------------------------------------------------


def _why_not(value: object) -> str:
    """Return why a value of another type is refused, and what to do about it."""
    kind = type(value)
    name = _type_name(kind)
    if hasattr(kind, "tolist"):  # scalars and arrays of numpy, series of pandas, array.array
        return f"a value of type {name} has no canonical form: convert it with .tolist()"
    if isinstance(value, enum.Enum):
        return f"a value of type {name} has no canonical form: use its .value or .name"
    for base in chain(_SCALARS, _CONTAINERS):
        if issubclass(kind, base):
            return f"{name} is a subclass of {base.__name__}: convert it with {base.__name__}(...)"
    if hasattr(kind, "__iter__"):
        return f"a value of type {name} has no canonical form: convert it with list(...)"
    known = ", ".join(base.__name__ for base in chain(_SCALARS, _CONTAINERS))
    return f"a value of type {name} has no canonical form; supported types: {known}"


def _type_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
