"""Whether the keys of a phase can stand side by side in a dict, which is what jobs' results are.

Python takes some different values for equal: ``1 == True == 1.0``. Keys of a few kinds never are, and then there is
nothing to check; otherwise keys are brought together by their hashes, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from ec262.domain.errors import JobDefinitionError, KeyCollision, KeyNotHashable, key_text
from ec262.domain.foreman.data.groups import Groups, Table, all_values, last_value
from ec262.domain.ports.spill import Spills
from ec262.domain.values import canonical
from ec262.domain.values.canonical import MAX_NUMBER, encode_list
from ec262.domain.values.hash_tables import MAX_EQUAL_HASHES

_APART = frozenset({str, bytes, type(None), int})
"""Kinds whose values are equal only if they are the same; of ints, those that all have hashes of their own."""

_HASH_BITS = (1 << 64) - 1


@attrs.frozen(kw_only=True)
class Clash:
    """Keys, by their canonical bytes, that cannot all be there, and the error that says so."""

    error: KeyCollision | JobDefinitionError
    names: frozenset[bytes]

    def told_of(self, where: str) -> Clash:
        """Return the same, its error saying who yielded the keys."""
        error = self.error.yielded_by(where) if isinstance(self.error, KeyCollision) else self.error
        return Clash(error=error, names=self.names)


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
        clash = self.clash()
        if clash is not None:
            raise clash.error

    def clash(self) -> Clash | None:
        """Return what ``finish`` would raise, and because of which keys. Raises SpillFailed."""
        for _, values in self._by_hash.tables(drain=True):
            for keys in canonical.decode(encode_list(encode_list([value]) for value in values)):
                clash = _clash_among(keys)
                if clash is not None:
                    return clash
        return None

    def close(self) -> None:
        """Forget everything."""
        self._by_hash.close()


class KeyTrial:
    """Tells whether the keys of a phase could stand side by side, before the results that have them are believed."""

    def __init__(self, spills: Spills | None, *, memory_bytes: int, load_bytes: int, prefix: int) -> None:
        """``prefix`` is how much stands before the canonical bytes of each key, as the number that a partitioner gave
        it does."""
        self._prefix = prefix
        self._names = Groups(last_value, spills, memory_bytes=memory_bytes, load_bytes=load_bytes)
        self._check = KeyCheck(spills, memory_bytes=memory_bytes, load_bytes=load_bytes, numbered=prefix > 0)
        self._taken = 0

    def take(self, tables: Iterable[Table]) -> None:
        """Take in the keys of tables. Raises SpillFailed, and what the tables raise."""
        self._names.add(self._taken, ((names, [b""] * len(names)) for names, _ in tables))
        self._taken += 1

    def clash(self) -> Clash | None:
        """Return keys that cannot all be there, if there are any; forget everything. Raises SpillFailed."""
        try:
            for names, _ in self._names.tables(drain=True):
                self._check.add([name[self._prefix :] for name in names])
            return self._check.clash()
        finally:
            self._names.close()
            self._check.close()


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
        f"{key_text(key)} ({type(key).__name__}) cannot be a key: results are dicts, whose keys must be hashable"
    )


def _clash_among(keys: list[Any]) -> Clash | None:
    if len(keys) > MAX_EQUAL_HASHES:
        error = JobDefinitionError(
            f"these keys cannot be told apart in reasonable time: more than {MAX_EQUAL_HASHES} keys have the same hash"
        )
        return Clash(error=error, names=frozenset(canonical.encode_each(keys)))
    known: dict[Any, Any] = {}
    for key in keys:
        if key in known:
            names = frozenset(canonical.encode_each([known[key], key]))
            return Clash(error=_clash_error(known[key], key), names=names)
        known[key] = key
    return None


def _clash_error(first: Any, second: Any) -> KeyCollision | JobDefinitionError:
    if canonical.encode(first) != canonical.encode(second):
        return KeyCollision(first, second)
    return JobDefinitionError(
        f"the partitioner gave the key {key_text(first)} different numbers in different tasks: the number must depend "
        "on the key alone"
    )
