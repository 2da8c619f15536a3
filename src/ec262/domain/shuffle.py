"""Between the phases and after them: group what the map tasks yielded, merge what the reduce tasks yielded.

Pairs come task by task, in the order of the tasks; each task's pairs with one key are in the order of yielding. As
tasks are contiguous cuts of the rows, that is the order of the data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from ec262.domain import canonical
from ec262.domain.canonical import encode_list
from ec262.domain.errors import JobDefinitionError, KeyCollision, KeyNotHashable, key_text
from ec262.domain.job import Row
from ec262.domain.pairs import Pair, encode_keys, encode_pairs


def shuffle(outputs: Iterable[Sequence[Pair]]) -> list[Row]:
    """Group the map tasks' pairs by key: the rows of the reduce phase, sorted by their keys' canonical bytes.

    A row's value is the list of the key's values in the order of the data. Raises KeyCollision, and KeyNotHashable
    for keys that no dict takes.
    """
    keys: dict[bytes, Any] = {}
    groups: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for pairs in outputs:
        names, values = encode_pairs(pairs)
        keys.update(zip(names, [key for key, _ in pairs], strict=True))
        for name, value in zip(names, values, strict=True):
            groups[name].append(value)
    _check_keys(list(keys.values()))
    return [Row(key=name, data=encode_list([name, encode_list(groups[name])])) for name in sorted(groups)]


def merge_results(outputs: Iterable[Sequence[Pair]]) -> dict[Any, Any]:
    """Merge the reduce tasks' pairs into the job's result, ordered by the keys' canonical bytes.

    Of several pairs with one key the last wins. Raises KeyCollision, and KeyNotHashable for keys that no dict
    takes.
    """
    last: dict[bytes, Pair] = {}
    for pairs in outputs:
        last.update(zip(encode_keys(pairs), pairs, strict=True))
    _check_keys([key for key, _ in last.values()])
    return dict(pair for _, pair in sorted(last.items(), key=itemgetter(0)))


def _check_keys(keys: list[Any]) -> None:
    """Raise if a dict cannot hold these keys, which all have different canonical bytes, side by side."""
    if set(map(type, keys)) <= {str}:
        return
    for key in keys:
        if not _is_hashable(key):
            raise KeyNotHashable(
                f"{key_text(key)} ({type(key).__name__}) cannot be a key: results are dicts, whose keys are hashable"
            )
    try:
        canonical.check_hashes(keys)
    except ValueError as error:
        raise JobDefinitionError(f"these keys cannot be told apart in reasonable time: {error}") from error
    known: dict[Any, Any] = {}
    for key in keys:
        if known.setdefault(key, key) is not key:
            raise KeyCollision(known[key], key)


def _is_hashable(key: Any) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True
