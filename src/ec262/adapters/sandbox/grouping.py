"""What a combiner gets: the values of a task's pairs by key, taken in while the pairs are yielded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from ec262.domain.values import canonical
from ec262.domain.values.pairs import Pair

BATCH_PAIRS = 1000
"""So many are grouped at a time: few enough to be in the processor's cache still. Where several rows fail, it has a say
in which one is blamed: whoever changes it makes another ``canonical.FORMAT``."""


class Grouping:
    """Groups pairs by the canonical bytes of their keys; values stay in the order in which they are added."""

    def __init__(self) -> None:
        # Texts are equal exactly if their canonical bytes are: only one of each group has to be encoded, and that late.
        self._by_text: defaultdict[str, list[Any]] = defaultdict(list)
        self._by_name: dict[bytes, tuple[Any, list[Any]]] = {}

    def add(self, pairs: Sequence[Pair]) -> None:
        """Take in pairs. Raises ValueNotEncodable for a key without canonical form."""
        by_text = self._by_text
        if set(map(type, map(itemgetter(0), pairs))) <= {str}:
            for key, value in pairs:
                by_text[key].append(value)
            return
        for name, (key, value) in zip(canonical.encode_each([key for key, _ in pairs]), pairs, strict=True):
            if type(key) is str:
                by_text[key].append(value)
            else:
                self._by_name.setdefault(name, (key, []))[1].append(value)

    def rows(self) -> list[Pair]:
        """Return (key, values) for each key, in the order of the keys' canonical bytes."""
        named = list(zip(canonical.encode_each(list(self._by_text)), self._by_text.items(), strict=True))
        named += self._by_name.items()
        return [(key, tuple(values)) for _, (key, values) in sorted(named, key=itemgetter(0))]
