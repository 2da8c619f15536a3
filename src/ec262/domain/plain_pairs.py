"""Pairs of text and scalars, as most tasks yield: read from canonical bytes without taking each of them apart.

Words are counted in pairs that are equal to very many others. What is read, checked and held once is what is different
among them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import overload

from ec262.domain import canonical
from ec262.domain.errors import NotCanonical
from ec262.domain.pairs import Pair
from ec262.domain.plain_json import scalar_lines

_START, _END = b'["pairs",[["', b"]]]"
_BEFORE = len(_START) - 1  # the text of the first pair begins with a quotation mark
_BETWEEN = "],["


class PlainPairs(Sequence[Pair]):
    """Pairs in their order, as the text of each, with what the different ones among these texts stand for."""

    def __init__(self, texts: list[str], names: Iterable[str], values: Iterable[str], pairs: Sequence[Pair]) -> None:
        """``names``, ``values`` (canonical texts of keys and values) and ``pairs`` are those of the different texts, in
        the order in which these come first."""
        different = list(dict.fromkeys(texts))
        self._texts = texts
        self._names = dict(zip(different, names, strict=True))
        self._values = dict(zip(different, values, strict=True))
        self._pairs = dict(zip(different, pairs, strict=True))

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, index: int) -> Pair: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Pair]: ...

    def __getitem__(self, index: int | slice) -> Pair | Sequence[Pair]:
        if isinstance(index, slice):
            return list(map(self._pairs.__getitem__, self._texts[index]))
        return self._pairs[self._texts[index]]

    def __iter__(self) -> Iterator[Pair]:
        return map(self._pairs.__getitem__, self._texts)

    def groups(self) -> tuple[list[bytes], list[bytes]]:
        """Return the canonical bytes of each key, sorted, and for each those of all its values, in their order, with
        commas between."""
        named = sorted(self._named_groups(), key=itemgetter(0))  # code points are in the order of their UTF-8
        names, values = zip(*named, strict=True)
        return _encoded(names), _encoded(values)

    def _named_groups(self) -> Iterable[tuple[str, str]]:
        if len(set(self._names.values())) == len(self._names):  # each key always has the same value
            times = Counter(self._texts)
            return [(name, ",".join([self._values[text]] * times[text])) for text, name in self._names.items()]
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for text in self._texts:
            groups[self._names[text]].append(self._values[text])
        return [(name, ",".join(values)) for name, values in groups.items()]


def read_plain_pairs(data: bytes) -> PlainPairs | None:
    """Return the pairs of an outcome if all its keys are texts and all its values plain scalars, in canonical form;
    None for anything else. Made for bytes from a stranger."""
    if not data.startswith(_START) or not data.endswith(_END):
        return None
    try:
        texts = data[_BEFORE : -len(_END)].decode().split(_BETWEEN)
        # What looks like the end of a pair may be inside of a text: then what follows does not fit together.
        different = list(dict.fromkeys(texts))
        rows = canonical.parse(f"[[{_BETWEEN.join(different)}]]".encode())
    except (UnicodeDecodeError, NotCanonical):
        return None
    if len(rows) != len(different) or set(map(type, rows)) != {list} or set(map(len, rows)) != {2}:
        return None
    keys, values = (list(map(itemgetter(place), rows)) for place in (0, 1))
    names, lines = scalar_lines(keys), scalar_lines(values)
    if set(map(type, keys)) != {str} or names is None or lines is None:
        return None
    named, valued = names.split("\n"), lines.split("\n")
    if list(map("%s,%s".__mod__, zip(named, valued, strict=True))) != different:
        return None
    return PlainPairs(texts, named, valued, list(zip(keys, values, strict=True)))


def _encoded(lines: Sequence[str]) -> list[bytes]:
    """Return texts without line ends as bytes."""
    return "\n".join(lines).encode().split(b"\n")
