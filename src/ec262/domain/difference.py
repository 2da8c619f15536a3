"""Where two outcomes of the same work part first, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import attrs

from ec262.domain import canonical
from ec262.domain.errors import key_text
from ec262.domain.outcome import CRASH, Outcome, Pair, Pairs, Stopped

REORDERED = "the same items in another order: sort them"
LAST_DIGITS = "they differ in their last digits only: --round-floats 12 makes them one"

_NEARLY = 1e-9
_SHOWN_BEFORE = 20
_NOTHING = "nothing that the other has not"


@attrs.frozen(kw_only=True)
class Difference:
    """``where`` names the place ("the value of the key 'a', at [2]"), ``first`` and ``second`` are what the two have
    there, ``hint`` is what can be said from looking at both, or empty; ``leaves`` are the two values themselves, where
    it comes down to two."""

    where: str
    first: str
    second: str
    hint: str = ""
    leaves: tuple[Any, Any] | None = attrs.field(default=None, eq=False, repr=False)


def first_difference(first: Outcome, second: Outcome) -> Difference | None:
    """Return the first difference of two outcomes, in the order of the keys' canonical bytes; None if there is none."""
    if not isinstance(first, Pairs) or not isinstance(second, Pairs):
        if first == second:
            return None
        return Difference(where="how it ended", first=_ending(first), second=_ending(second))
    ours, theirs = _by_key(first.pairs), _by_key(second.pairs)
    for name in sorted(ours.keys() & theirs.keys()):
        key, values = ours[name]
        difference = _in_values(key_text(key), values, theirs[name][1])
        if difference is not None:
            return difference
    return _of_sets("a key that was yielded", _keys(ours), _keys(theirs))


def _ending(outcome: Outcome) -> str:
    if isinstance(outcome, Pairs):
        return f"it yielded {len(outcome.pairs)} pairs"
    if isinstance(outcome, Stopped):
        return "its process crashed" if outcome.by == CRASH else f"it hit its {outcome.by} limit"
    row = "" if outcome.row is None else f" at the row with key {outcome.row}"
    frames = "".join(f", in {function} line {line}" for function, line in outcome.frames)
    return f"the {outcome.function} raised {outcome.exception}{row}{frames}"


# --- keys and their values ------------------------------------------------------------------------------------------

_Groups = Mapping[bytes, tuple[Any, Sequence[Any]]]


def _by_key(pairs: Iterable[Pair]) -> _Groups:
    """Return each key with all its values, by the key's canonical bytes."""
    groups: dict[bytes, tuple[Any, list[Any]]] = {}
    for key, value in pairs:
        groups.setdefault(canonical.encode(key), (key, []))[1].append(value)
    return groups


def _keys(groups: _Groups) -> dict[bytes, Any]:
    return {name: key for name, (key, _) in groups.items()}


def _in_values(key: str, first: Sequence[Any], second: Sequence[Any]) -> Difference | None:
    if len(first) != len(second):
        return Difference(where=f"how many values the key {key} has", first=str(len(first)), second=str(len(second)))
    number = _first_unlike(first, second)
    if number is None:
        return None
    if len(first) == 1:
        return _in_value(f"the value of the key {key}", "", first[0], second[0])
    place = f"value {number + 1} of {len(first)} of the key {key}"
    if _are_reordered(first, second):
        return _leaf(place, first[number], second[number], hint=REORDERED)
    return _in_value(place, "", first[number], second[number])


# --- values ---------------------------------------------------------------------------------------------------------


def _in_value(place: str, path: str, first: Any, second: Any) -> Difference:
    """Go down into two values that differ, as far as they are alike."""
    here = f"{place}, at {path}" if path else place
    match first:
        case _ if type(first) is not type(second):
            pass
        case list() | tuple():
            return _in_lists(place, path, first, second)
        case dict():
            return _in_dicts(place, path, first, second)
        case set() | frozenset():
            return _of_sets(f"{here}: an element", _named(first), _named(second)) or _leaf(here, first, second)
        case str() | bytes() | bytearray():
            return _in_texts(here, first, second)
        case float() if first != second and math.isclose(first, second, rel_tol=_NEARLY):
            return _leaf(here, first, second, hint=LAST_DIGITS)
    return _leaf(here, first, second)


def _in_lists(place: str, path: str, first: Sequence[Any], second: Sequence[Any]) -> Difference:
    here = f"{place}, at {path}" if path else place
    if len(first) != len(second):
        return _leaf(f"{here}: how many items", len(first), len(second))
    if _are_reordered(first, second):
        return _leaf(here, first, second, hint=REORDERED)
    number = _first_unlike(first, second) or 0
    return _in_value(place, f"{path}[{number}]", first[number], second[number])


def _in_dicts(place: str, path: str, first: dict[Any, Any], second: dict[Any, Any]) -> Difference:
    ours, theirs = ({canonical.encode(key): (key, value) for key, value in side.items()} for side in (first, second))
    for name in sorted(ours.keys() & theirs.keys()):
        (key, value), (_, other) = ours[name], theirs[name]
        if canonical.encode(value) != canonical.encode(other):
            return _in_value(place, f"{path}[{key_text(key)}]", value, other)
    here = f"{place}, at {path}" if path else place
    return _of_sets(f"{here}: a key", _named(first), _named(second)) or _leaf(here, first, second)


def _in_texts(here: str, first: Any, second: Any) -> Difference:
    """Show two texts, or bytes, from shortly before they part."""
    parting = next(number for number, (ours, theirs) in enumerate(zip_longest(first, second)) if ours != theirs)
    start = parting - _SHOWN_BEFORE if parting > 2 * _SHOWN_BEFORE else 0
    hint = REORDERED if sorted(first) == sorted(second) else ""
    return _leaf(f"{here}, from [{start}] on" if start else here, first[start:], second[start:], hint=hint)


def _of_sets(what: str, first: Mapping[bytes, Any], second: Mapping[bytes, Any]) -> Difference | None:
    """Show the first that each has and the other has not, by canonical bytes."""
    ours, theirs = sorted(first.keys() - second.keys()), sorted(second.keys() - first.keys())
    if ours and theirs:
        return _in_value(what, "", first[ours[0]], second[theirs[0]])
    if not ours and not theirs:
        return None
    return Difference(
        where=what,
        first=_text(first[ours[0]]) if ours else _NOTHING,
        second=_text(second[theirs[0]]) if theirs else _NOTHING,
    )


def _named(items: Iterable[Any]) -> dict[bytes, Any]:
    return {canonical.encode(item): item for item in items}


def _first_unlike(first: Sequence[Any], second: Sequence[Any]) -> int | None:
    pairs = zip(canonical.encode_each(first), canonical.encode_each(second), strict=True)
    return next((number for number, (ours, theirs) in enumerate(pairs) if ours != theirs), None)


def _are_reordered(first: Sequence[Any], second: Sequence[Any]) -> bool:
    return sorted(canonical.encode_each(first)) == sorted(canonical.encode_each(second))


def _leaf(where: str, first: Any, second: Any, *, hint: str = "") -> Difference:
    return Difference(where=where, first=_text(first), second=_text(second), hint=hint, leaves=(first, second))


def _text(value: Any) -> str:
    return f"{key_text(value)} ({type(value).__name__})"
