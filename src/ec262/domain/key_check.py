"""Whether the keys of a phase can stand side by side in a dict, which is what jobs' results are.

Python takes some different values for equal: ``1 == True == 1.0``. Keys of a few kinds never are, and then there is
nothing to check; otherwise keys are brought together by their hashes, however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ec262.domain import canonical
from ec262.domain.canonical import MAX_NUMBER, encode_list
from ec262.domain.errors import JobDefinitionError, JobError, KeyCollision, KeyNotHashable, key_text
from ec262.domain.groups import Groups, all_values
from ec262.domain.hash_tables import MAX_EQUAL_HASHES
from ec262.domain.ports.spill import Spills

_APART = frozenset({str, bytes, type(None), int})
"""Kinds whose values are equal only if they are the same; of ints, those that all have hashes of their own."""

_HASH_BITS = (1 << 64) - 1


class KeyCheck:
    """Looks at keys as they come from tasks; if that leaves a doubt (``needed``), takes in each different key once.

    Where a partitioner has given keys numbers (``numbered``), it takes them in anyway: one that comes twice has two.
    """

    def __init__(
        self, spills: Spills | None = None, *, memory_bytes: int = 0, load_bytes: int = 0, numbered: bool = False
    ) -> None:
        self.needed = numbered
        self._numbered = numbered
        self._by_hash = Groups(all_values, spills, memory_bytes=memory_bytes, load_bytes=load_bytes)
        self._added = 0

    def look(self, keys: Sequence[Any]) -> None:
        """Look at keys. Raises KeyNotHashable."""
        kinds = set(map(type, keys))
        if kinds <= {str}:
            return
        if not kinds <= _APART:
            self.needed = True
            for key in keys:
                if not is_hashable(key):
                    raise not_hashable(key)
        elif int in kinds:
            numbers = [key for key in keys if type(key) is int]
            self.needed |= max(numbers) > MAX_NUMBER or min(numbers) < -MAX_NUMBER

    def add(self, names: Sequence[bytes]) -> None:
        """Take in the canonical forms of keys. Raises SpillFailed."""
        if not self._numbered:  # strings are equal to nothing else
            names = [name for name in names if not name.startswith(b'"')]
        keys = canonical.decode(encode_list(names))
        hashes = [b"%016x" % (hash(key) & _HASH_BITS) for key in keys]
        self._by_hash.add(self._added, [(hashes, list(names))])
        self._added += 1

    def finish(self) -> None:
        """Raise KeyCollision if two of the keys are equal, JobDefinitionError if so many have one hash that they cannot
        be told apart in reasonable time, or if a key comes twice."""
        for _, values in self._by_hash.tables(drain=True):
            for keys in canonical.decode(encode_list(encode_list([value]) for value in values)):
                _tell_apart(keys)

    def close(self) -> None:
        """Forget everything."""
        self._by_hash.close()


def is_hashable(key: Any) -> bool:
    """Whether a dict takes this key."""
    try:
        hash(key)
    except TypeError:
        return False
    return True


def not_hashable(key: Any) -> KeyNotHashable:
    """Return the error for a key that no dict takes."""
    return KeyNotHashable(
        f"{key_text(key)} ({type(key).__name__}) cannot be a key: results are dicts, whose keys are hashable"
    )


def _tell_apart(keys: list[Any]) -> None:
    if len(keys) > MAX_EQUAL_HASHES:
        raise JobDefinitionError(
            f"these keys cannot be told apart in reasonable time: more than {MAX_EQUAL_HASHES} keys have the same hash"
        )
    known: dict[Any, Any] = {}
    for key in keys:
        if key in known:
            raise _clash(known[key], key)
        known[key] = key


def _clash(first: Any, second: Any) -> JobError:
    if canonical.encode(first) != canonical.encode(second):
        return KeyCollision(first, second)
    return JobDefinitionError(
        f"the partitioner gave the key {key_text(first)} one number in one task and another in another: it must depend "
        "on the key alone"
    )
