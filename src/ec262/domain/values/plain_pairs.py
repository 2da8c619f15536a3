"""Pairs of strings and scalars, which most tasks yield, read from canonical bytes without parsing each one.

Counting words, for example, yields very many equal pairs. Equal pairs are read, checked and stored once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from operator import itemgetter, lt
from typing import overload

from ec262.domain.errors import NotCanonical
from ec262.domain.values import canonical
from ec262.domain.values.pairs import Pair
from ec262.domain.values.plain_json import scalar_lines

_START, _END = b'["pairs",[["', b"]]]"
_BEFORE = len(_START) - 1  # the first pair's text begins with the quotation mark
_BETWEEN = "],["


class PlainPairs(Sequence[Pair]):
    """Pairs in their order. Each distinct pair is stored once."""

    def __init__(self, texts: list[str], times: dict[str, int], names: list[str], values: list[str], pairs: list[Pair]):
        """``texts`` are the texts of all pairs, and ``times`` counts how often each distinct one occurs. ``pairs`` are
        the distinct pairs, and ``names`` and ``values`` the canonical texts of their keys and values, in the order of
        ``times``."""
        self._texts = texts
        self._times = times
        self._names = names
        self._values = values
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._texts)

    @cached_property
    def _places(self) -> Sequence[int]:
        """The index of each pair among the distinct ones."""
        numbers = range(len(self._pairs))
        if len(self._texts) == len(numbers):
            return numbers
        return list(map(dict(zip(self._times, numbers, strict=True)).__getitem__, self._texts))

    @overload
    def __getitem__(self, index: int) -> Pair: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Pair]: ...

    def __getitem__(self, index: int | slice) -> Pair | Sequence[Pair]:
        if isinstance(index, slice):
            return list(map(self._pairs.__getitem__, self._places[index]))
        return self._pairs[self._places[index]]

    def __iter__(self) -> Iterator[Pair]:
        return map(self._pairs.__getitem__, self._places)

    def groups(self) -> tuple[list[bytes], list[bytes]]:
        """Return the canonical bytes of the keys, sorted, and for each key those of all its values, in their order and
        separated by commas."""
        names, values = self._names, self._values
        if len(self._texts) > len(names) or not all(map(lt, names, names[1:])):  # not sorted and grouped yet
            named = sorted(self._named_groups(), key=itemgetter(0))  # code points sort like their UTF-8
            names, values = map(list, zip(*named, strict=True))
        return _encoded(names), _encoded(values)

    def _named_groups(self) -> Iterable[tuple[str, str]]:
        if len(set(self._names)) == len(self._names):  # each key always has the same value
            values = [",".join([value] * n) for value, n in zip(self._values, self._times.values(), strict=True)]
            return zip(self._names, values, strict=True)
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for place in self._places:
            groups[self._names[place]].append(self._values[place])
        return [(name, ",".join(values)) for name, values in groups.items()]


def read_plain_pairs(data: bytes) -> PlainPairs | None:
    """Return the pairs of an outcome if all its keys are strings and all its values plain scalars, in canonical form,
    or else None. Safe for bytes from a stranger."""
    if not data.startswith(_START) or not data.endswith(_END):
        return None
    try:
        texts = data[_BEFORE : -len(_END)].decode().split(_BETWEEN)
        # A separator may also occur inside a string. Then the checks below fail.
        times = Counter(texts)
        rows = canonical.parse(f"[[{_BETWEEN.join(times)}]]".encode())
    except (UnicodeDecodeError, NotCanonical):
        return None
    if len(rows) != len(times) or set(map(type, rows)) != {list} or set(map(len, rows)) != {2}:
        return None
    keys, values = (list(map(itemgetter(place), rows)) for place in (0, 1))
    names, lines = scalar_lines(keys), scalar_lines(values)
    if set(map(type, keys)) != {str} or names is None or lines is None:
        return None
    named, valued = names.split("\n"), lines.split("\n")
    if list(map(",".join, zip(named, valued, strict=True))) != list(times):
        return None
    return PlainPairs(texts, times, named, valued, list(zip(keys, values, strict=True)))


def _encoded(lines: Sequence[str]) -> list[bytes]:
    """Return the bytes of each line; no line contains a line end."""
    return "\n".join(lines).encode().split(b"\n")
