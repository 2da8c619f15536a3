"""Checks whether the keys of a phase can coexist in a dict, since the results of jobs are dicts.

In Python, some different values are equal: ``1 == True == 1.0``. Keys of certain types never are, so they need no
check. All other keys are grouped by their hashes, however many there are.
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
"""Types whose values are equal only if they are identical; for int, only up to ``MAX_NUMBER``: in that range all hashes
differ."""

_HASH_BITS = (1 << 64) - 1


@attrs.frozen(kw_only=True)
class Clash:
    """Keys, as canonical bytes, that cannot coexist, and the error that reports them."""

    error: KeyCollision | JobDefinitionError
    names: frozenset[bytes]

    def told_of(self, where: str) -> Clash:
        """Return the same clash with an error that names who yielded the keys."""
        error = self.error.yielded_by(where) if isinstance(self.error, KeyCollision) else self.error
        return Clash(error=error, names=self.names)


class KeyCheck:
    """Inspects the keys of tasks with ``look``. If they might clash (``needed``), each distinct key must be added once.

    If a partitioner has given numbers to keys (``numbered``), all of them are added: one that occurs twice has two
    numbers.
    """

    def __init__(
        self, spills: Spills | None = None, *, memory_bytes: int = 0, load_bytes: int = 0, numbered: bool = False
    ) -> None:
        self.needed = numbered
        self._numbered = numbered
        self._by_hash = Groups(all_values, spills, memory_bytes=memory_bytes, load_bytes=load_bytes)
        self._added = 0

    def look(self, keys: Sequence[Any]) -> None:
        """Inspect keys. Raises KeyNotHashable."""
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
        """Add keys in canonical form. Raises SpillFailed."""
        if not self._numbered:  # a string never equals a value of another type
            names = [name for name in names if not name.startswith(b'"')]
        keys = canonical.decode(encode_list(names))
        hashes = [b"%016x" % (hash(key) & _HASH_BITS) for key in keys]
        self._by_hash.add(self._added, [(hashes, list(names))])
        self._added += 1

    def finish(self) -> None:
        """Raise KeyCollision if two of the keys are equal, or JobDefinitionError if a key occurs twice or if too many
        keys share one hash."""
        clash = self.clash()
        if clash is not None:
            raise clash.error

    def clash(self) -> Clash | None:
        """Return the error that ``finish`` would raise, with its keys, or None. Raises SpillFailed."""
        for _, values in self._by_hash.tables(drain=True):
            for keys in canonical.decode(encode_list(encode_list([value]) for value in values)):
                clash = _clash_among(keys)
                if clash is not None:
                    return clash
        return None

    def close(self) -> None:
        """Drop all data."""
        self._by_hash.close()


class KeyTrial:
    """Checks whether the keys of a phase could coexist, before their results are accepted."""

    def __init__(self, spills: Spills | None, *, memory_bytes: int, load_bytes: int, prefix: int) -> None:
        """``prefix`` is the number of bytes before the canonical bytes of each key, such as the partitioner's
        number."""
        self._prefix = prefix
        self._names = Groups(last_value, spills, memory_bytes=memory_bytes, load_bytes=load_bytes)
        self._check = KeyCheck(spills, memory_bytes=memory_bytes, load_bytes=load_bytes, numbered=prefix > 0)
        self._taken = 0

    def take(self, tables: Iterable[Table]) -> None:
        """Add the keys of tables. Raises SpillFailed, and whatever the tables raise."""
        self._names.add(self._taken, ((names, [b""] * len(names)) for names, _ in tables))
        self._taken += 1

    def clash(self) -> Clash | None:
        """Return keys that cannot coexist, if there are any, and drop all data. Raises SpillFailed."""
        try:
            for names, _ in self._names.tables(drain=True):
                self._check.add([name[self._prefix :] for name in names])
            return self._check.clash()
        finally:
            self._names.close()
            self._check.close()


def is_hashable(key: Any) -> bool:
    """Tell whether a dict can have this key."""
    try:
        hash(key)
    except TypeError:
        return False
    return True


def not_hashable(key: Any) -> KeyNotHashable:
    """Return the error for a key that is not hashable."""
    return KeyNotHashable(
        f"{key_text(key)} ({type(key).__name__}) cannot be a key: results are dicts, whose keys must be hashable"
    )


def _clash_among(keys: list[Any]) -> Clash | None:
    if len(keys) > MAX_EQUAL_HASHES:
        error = JobDefinitionError(
            f"these keys cannot be distinguished in reasonable time: more than {MAX_EQUAL_HASHES} have the same hash"
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
