"""The work between and after the phases: grouping the pairs of the map tasks, and merging those of the reduce tasks.

Tasks may arrive in any order; the pairs of a task with the same key are in the order in which they were yielded. The
order of the tasks counts, not that of arrival: tasks are contiguous cuts of the rows, so it is the order of the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from ec262.domain.errors import JobDefinitionError, KeyCollision
from ec262.domain.foreman.data.groups import Groups, GroupTooLarge, Table, all_values, last_value
from ec262.domain.foreman.data.key_check import KeyCheck, is_hashable, not_hashable
from ec262.domain.foreman.data.memory_budget import DEFAULT_BUDGET, MemoryBudget
from ec262.domain.foreman.data.row import MAX_ROW_BYTES, Row, key_too_large
from ec262.domain.foreman.data.row_spool import RowSpool
from ec262.domain.ports.spill import Spills
from ec262.domain.values.hash_tables import check_dict
from ec262.domain.values.pairs import NUMBER_BYTES, Pair, encode_keys, encode_pairs, number_bytes
from ec262.domain.values.plain_pairs import PlainPairs


class Shuffle:
    """Creates the rows of the reduce phase, sorted by the partitioner's number for the key, if the job has a
    partitioner, and then by the canonical bytes of the key.

    The value of a row is the list of the key's values in the order of the data. Without ``spills``, everything stays in
    memory.
    """

    def __init__(
        self, spills: Spills | None = None, budget: MemoryBudget = DEFAULT_BUDGET, *, numbered: bool = False
    ) -> None:
        self._spills = spills
        self._budget = budget
        self._numbered = numbered
        self._groups = Groups(
            all_values,
            spills,
            memory_bytes=budget.groups_bytes,
            load_bytes=budget.load_bytes,
            most_bytes=MAX_ROW_BYTES,
        )
        self._check = KeyCheck(spills, memory_bytes=budget.load_bytes, load_bytes=budget.load_bytes, numbered=numbered)

    def add(self, task: int, portions: Iterable[Sequence[Pair]]) -> None:
        """Add the pairs of a task, all or nothing.

        Raises KeyNotHashable, SpillFailed, NotCanonical if keys lack the partitioner's numbers, JobDefinitionError as
        soon as the values of a key are certain to exceed one row, and whatever the portions raise.
        """
        try:
            self._groups.add(task, map(self.table, portions))
        except GroupTooLarge as error:
            raise self._too_large(error) from error

    def rows(self) -> RowSpool:
        """Return all rows, and drop the pairs. Raises KeyCollision, JobDefinitionError, SpillFailed."""
        spool = RowSpool(self._spills, memory_bytes=self._budget.rows_bytes)
        number = b""
        for names, rows in self._row_tables():
            for name, row in zip(names, rows, strict=True):
                spool.append(row, with_last=self._numbered and name[:NUMBER_BYTES] == number)
                number = name[:NUMBER_BYTES]
        return spool

    def listed(self) -> list[Row]:
        """Return all rows as a list, for small data. Raises what ``rows`` raises."""
        return [Row(key=name, data=data) for table in self._row_tables() for name, data in zip(*table, strict=True)]

    def close(self) -> None:
        """Drop all data. May be called twice."""
        self._groups.close()
        self._check.close()

    def look(self, pairs: Sequence[Pair]) -> None:
        """Raise KeyNotHashable, or NotCanonical if keys lack the partitioner's numbers, as ``add`` would."""
        if self._numbered:
            for key, _ in pairs:
                number_bytes(key)
            self._check.look([key[1] for key, _ in pairs])
        elif not isinstance(pairs, PlainPairs):
            self._check.look([key for key, _ in pairs])

    def table(self, pairs: Sequence[Pair]) -> Table:
        """Return the names by which pairs are sorted, and the canonical bytes of their values. Raises what ``look``
        raises."""
        if isinstance(pairs, PlainPairs) and not self._numbered:
            return pairs.groups()
        self.look(pairs)
        if not self._numbered:
            return encode_pairs(pairs)
        names, values = encode_pairs([(key[1], value) for key, value in pairs])
        return [number_bytes(key) + name for (key, _), name in zip(pairs, names, strict=True)], values

    def tables(self) -> Iterator[Table]:
        """Yield the groups, sorted by name. Raises SpillFailed, JobDefinitionError."""
        try:
            yield from self._groups.tables(drain=False)
        except GroupTooLarge as error:
            raise self._too_large(error) from error

    @property
    def prefix(self) -> int:
        """The number of bytes before the canonical bytes of a key in its name."""
        return NUMBER_BYTES if self._numbered else 0

    @property
    def in_doubt(self) -> bool:
        """Whether any of the keys might clash with others."""
        return self._check.needed

    def _row_tables(self) -> Iterator[Table]:
        """Yield the rows, with the names by which they are sorted."""
        prefix = self.prefix
        try:
            for names, values in self._groups.tables(drain=True):
                keys = [name[prefix:] for name in names] if prefix else names
                if self._check.needed:
                    self._check.add(keys)
                rows = [b"[%b,[%b]]" % row for row in zip(keys, values, strict=True)]
                if max(map(len, rows)) > MAX_ROW_BYTES:
                    key, row = next(pair for pair in zip(keys, rows, strict=True) if len(pair[1]) > MAX_ROW_BYTES)
                    raise key_too_large(key, len(row))
                yield names, rows
        except GroupTooLarge as error:
            raise self._too_large(error) from error
        self._check.finish()

    def _too_large(self, error: GroupTooLarge) -> JobDefinitionError:
        return key_too_large(error.name[self.prefix :], error.size)


def shuffle(outputs: Iterable[Sequence[Pair]], *, numbered: bool = False) -> list[Row]:
    """Group the pairs of map tasks in memory. Raises what ``Shuffle`` raises."""
    whole = Shuffle(numbered=numbered)
    for task, pairs in enumerate(outputs):
        whole.add(task, [pairs])
    return whole.listed()


class ResultLines:
    """Merges the reduce tasks' pairs as ``merge_results`` does, into lines of text instead of a dict."""

    def __init__(self, spills: Spills | None = None, budget: MemoryBudget = DEFAULT_BUDGET) -> None:
        self._groups = Groups(last_value, spills, memory_bytes=budget.groups_bytes, load_bytes=budget.load_bytes)
        self._check = KeyCheck(spills, memory_bytes=budget.load_bytes, load_bytes=budget.load_bytes)

    def add(self, task: int, portions: Iterable[Sequence[Pair]]) -> None:
        """Add the pairs of a task, all or nothing. Raises KeyNotHashable, SpillFailed, and whatever the portions
        raise."""
        self._groups.add(task, map(self.table, portions))

    def check(self) -> None:
        """Raise KeyCollision or JobDefinitionError if the keys cannot coexist in a dict."""
        if self._check.needed:
            for names, _ in self._groups.tables(drain=False):
                self._check.add(names)
            self._check.finish()

    def lines(self) -> Iterator[bytes]:
        """Yield a line with the canonical bytes of [key, value] for each key, in the order of the keys' canonical
        bytes, and drop the pairs. Raises SpillFailed."""
        for names, values in self._groups.tables(drain=True):
            yield from map(b"[%b,%b]\n".__mod__, zip(names, values, strict=True))

    def close(self) -> None:
        """Drop all data. May be called twice."""
        self._groups.close()
        self._check.close()

    def look(self, pairs: Sequence[Pair]) -> None:
        """Raise KeyNotHashable as ``add`` would."""
        if not isinstance(pairs, PlainPairs):
            self._check.look([key for key, _ in pairs])

    def table(self, pairs: Sequence[Pair]) -> Table:
        """Return the canonical bytes of pairs, keys and values. Raises KeyNotHashable."""
        self.look(pairs)
        return encode_pairs(pairs)

    def tables(self) -> Iterator[Table]:
        """Yield the groups, sorted by key. Raises SpillFailed."""
        yield from self._groups.tables(drain=False)

    @property
    def in_doubt(self) -> bool:
        """Whether any of the keys might clash with others."""
        return self._check.needed


def merge_results(outputs: Iterable[Sequence[Pair]]) -> dict[Any, Any]:
    """Merge the reduce tasks' pairs into the job's result, ordered by the keys' canonical bytes.

    If a key has several pairs, the last one wins. Raises KeyCollision, and KeyNotHashable for keys that are not
    hashable.
    """
    last: dict[bytes, Pair] = {}
    for pairs in outputs:
        last.update(zip(encode_keys(pairs), pairs, strict=True))
    merged = [pair for _, pair in sorted(last.items(), key=itemgetter(0))]
    _check_keys([key for key, _ in merged])
    return dict(merged)


def _check_keys(keys: list[Any]) -> None:
    """Raise an error if a dict cannot hold all of these keys, whose canonical bytes are all different."""
    if set(map(type, keys)) <= {str}:
        return
    for key in keys:
        if not is_hashable(key):
            raise not_hashable(key)
    try:
        check_dict(keys)
    except ValueError as error:
        raise JobDefinitionError(f"these keys cannot be distinguished in reasonable time: {error}") from error
    known: dict[Any, Any] = {}
    for key in keys:
        if known.setdefault(key, key) is not key:
            raise KeyCollision(known[key], key)
