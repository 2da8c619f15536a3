"""The first difference between two outcomes of the same work, in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import attrs

from ec262.domain.errors import key_text
from ec262.domain.foreman.job.value_names import Names
from ec262.domain.values import canonical
from ec262.domain.work.outcome import CRASH, Outcome, Pair, Pairs, Stopped

REORDERED = "the same items in a different order: sort them"
LAST_DIGITS = "they differ only in their last digits: --round-floats 12 makes them equal"

_NEARLY = 1e-9
_SHOWN_BEFORE = 20
_NOTHING = "no counterpart"


@attrs.frozen(kw_only=True)
class Difference:
    """``where`` names the place ("the value of the key 'a', at [2]"), ``first`` and ``second`` are what the two
    outcomes have there, and ``hint`` is an explanation that follows from the two, or empty; ``leaves`` are the two
    differing values themselves, if there are two."""

    where: str
    first: str
    second: str
    hint: str = ""
    leaves: tuple[Any, Any] | None = attrs.field(default=None, eq=False, repr=False)


def first_difference(first: Outcome, second: Outcome) -> Difference | None:
    """Return the first difference between two outcomes, in the order of the keys' canonical bytes, or None."""
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
    return _Descent().of_sets("a yielded key", _keys(ours), _keys(theirs))


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
    """Map the canonical bytes of each key to the key and all its values."""
    groups: dict[bytes, tuple[Any, list[Any]]] = {}
    for key, value in pairs:
        groups.setdefault(canonical.encode(key), (key, []))[1].append(value)
    return groups


def _keys(groups: _Groups) -> dict[bytes, Any]:
    return {name: key for name, (key, _) in groups.items()}


def _in_values(key: str, first: Sequence[Any], second: Sequence[Any]) -> Difference | None:
    if len(first) != len(second):
        return Difference(
            where=f"the number of values of the key {key}", first=str(len(first)), second=str(len(second))
        )
    descent = _Descent()
    number = descent.first_unlike(first, second)
    if number is None:
        return None
    if len(first) == 1:
        return descent.in_value(f"the value of the key {key}", first[0], second[0])
    place = f"value {number + 1} of {len(first)} of the key {key}"
    if descent.are_reordered(first, second):
        return _leaf(place, first[number], second[number], hint=REORDERED)
    return descent.in_value(place, first[number], second[number])


# --- values ---------------------------------------------------------------------------------------------------------


class _Descent:
    """Descends into two differing values as far as they have the same structure. The comparisons at each level use the
    names of items, which are computed only once."""

    def __init__(self) -> None:
        self._names = Names()
        self._path: list[str] = []

    def in_value(self, place: str, first: Any, second: Any) -> Difference:
        """Return the first difference between two differing values at this place."""
        match first:
            case _ if type(first) is not type(second):
                pass
            case list() | tuple():
                return self._in_lists(place, first, second)
            case dict():
                return self._in_dicts(place, first, second)
            case set() | frozenset():
                here = self._here(place)
                ours, theirs = self._names.items(first), self._names.items(second)
                return self.of_sets(f"{here}: an element", ours, theirs) or _leaf(here, first, second)
            case str() | bytes() | bytearray():
                return _in_texts(self._here(place), first, second)
            case float() if first != second and math.isclose(first, second, rel_tol=_NEARLY):
                return _leaf(self._here(place), first, second, hint=LAST_DIGITS)
        return _leaf(self._here(place), first, second)

    def of_sets(self, what: str, first: Mapping[bytes, Any], second: Mapping[bytes, Any]) -> Difference | None:
        """Return the first item, by name, of each that the other lacks; None if there is none."""
        ours, theirs = first.keys() - second.keys(), second.keys() - first.keys()
        if ours and theirs:
            self._path.clear()  # the description of the place includes it
            return self.in_value(what, first[min(ours)], second[min(theirs)])
        if not ours and not theirs:
            return None
        return Difference(
            where=what,
            first=_text(first[min(ours)]) if ours else _NOTHING,
            second=_text(second[min(theirs)]) if theirs else _NOTHING,
        )

    def first_unlike(self, first: Sequence[Any], second: Sequence[Any]) -> int | None:
        """Return the first index at which the items differ."""
        pairs = zip(self._names.of_each(first), self._names.of_each(second), strict=True)
        return next((number for number, (ours, theirs) in enumerate(pairs) if ours != theirs), None)

    def are_reordered(self, first: Sequence[Any], second: Sequence[Any]) -> bool:
        """Tell whether these are the same items in any order."""
        return sorted(self._names.of_each(first)) == sorted(self._names.of_each(second))

    def _here(self, place: str) -> str:
        return f"{place}, at {''.join(self._path)}" if self._path else place

    def _in_lists(self, place: str, first: Sequence[Any], second: Sequence[Any]) -> Difference:
        here = self._here(place)
        if len(first) != len(second):
            return _leaf(f"{here}: the number of items", len(first), len(second))
        if self.are_reordered(first, second):
            return _leaf(here, first, second, hint=REORDERED)
        number = self.first_unlike(first, second) or 0
        self._path.append(f"[{number}]")
        return self.in_value(place, first[number], second[number])

    def _in_dicts(self, place: str, first: dict[Any, Any], second: dict[Any, Any]) -> Difference:
        ours, theirs = self._names.items(first), self._names.items(second)
        for name in sorted(ours.keys() & theirs.keys()):
            value, other = first[ours[name]], second[theirs[name]]
            if self._names.of(value) != self._names.of(other):
                self._path.append(f"[{key_text(ours[name])}]")
                return self.in_value(place, value, other)
        here = self._here(place)
        return self.of_sets(f"{here}: a key", ours, theirs) or _leaf(here, first, second)


def _in_texts(here: str, first: Any, second: Any) -> Difference:
    """Show two strings, or bytes, from shortly before their first difference."""
    parting = next(number for number, (ours, theirs) in enumerate(zip_longest(first, second)) if ours != theirs)
    start = parting - _SHOWN_BEFORE if parting > 2 * _SHOWN_BEFORE else 0
    hint = REORDERED if Counter(first) == Counter(second) else ""
    return _leaf(f"{here}, from [{start}] on" if start else here, first[start:], second[start:], hint=hint)


def _leaf(where: str, first: Any, second: Any, *, hint: str = "") -> Difference:
    return Difference(where=where, first=_text(first), second=_text(second), hint=hint, leaves=(first, second))


def _text(value: Any) -> str:
    return f"{key_text(value)} ({type(value).__name__})"
