"""Grouping of values by key, in the order of the keys, for more data than fits into memory, by ranges of keys.

The output of a task comes in portions. Each is sorted by key and cut at the bounds of the ranges; what does not fit
into memory is written to a spill, range by range. At the end, one range after the other is loaded and grouped; a range
that is too large to load is distributed once more, into smaller ranges. So each pair is written once or twice, however
many there are, and no records are merged one by one (DeWitt, Naughton, Schneider, "Parallel Sorting on a Shared-Nothing
Architecture using Probabilistic Splitting").

Keys and values are bytes without line ends, like all canonical forms. A packed segment has a line for each key,
followed by a line for its value.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, pairwise
from operator import lt

import attrs

from ec262.domain.ports.spill import Spill, Spills

Table = tuple[list[bytes], list[bytes]]
"""Keys, and the value of each."""

Fold = Callable[[Iterable[Table]], dict[bytes, bytes]]
"""Combines all values of each key, from consecutive tables, into one. The results can be folded again."""

Order = tuple[int, int]
"""The position of a segment: its task, and the number of the portion of the task's output."""

MAX_RANGES = 128
"""The maximum number of ranges: each gets a part of every portion, which should not be too small."""

HEAVY_BYTES = 64 << 10
"""Keys whose values in one portion take at least this many bytes are counted at once, to detect a key with too many
values early."""

SEGMENT_BYTES = 150
"""The memory overhead of a segment."""


def all_values(tables: Iterable[Table]) -> dict[bytes, bytes]:
    """Fold values by joining them in order, with commas."""
    groups: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for names, values in tables:
        for name, value in zip(names, values, strict=True):
            groups[name].append(value)
    return {name: b",".join(values) for name, values in groups.items()}


def last_value(tables: Iterable[Table]) -> dict[bytes, bytes]:
    """Fold values by keeping the last one."""
    last: dict[bytes, bytes] = {}
    for names, values in tables:
        last.update(zip(names, values, strict=True))
    return last


@attrs.define
class _Range:
    """The segments with keys from ``low`` up to, but not including, ``high`` (None: no upper bound)."""

    low: bytes
    high: bytes | None
    size: int = 0
    held: list[tuple[Order, bytes]] = attrs.Factory(list)
    extents: list[tuple[int, int]] = attrs.Factory(list)

    @property
    def is_one_key(self) -> bool:
        return self.high is not None and self.high == _after(self.low)


class Groups:
    """Collects pairs of tasks in any order, and yields the keys with their folded values, sorted by key."""

    def __init__(
        self,
        fold: Fold,
        spills: Spills | None = None,
        *,
        memory_bytes: int = 0,
        load_bytes: int = 0,
        most_bytes: int | None = None,
    ) -> None:
        """Up to ``memory_bytes`` of segments stay in memory, and about ``load_bytes`` are loaded at a time; without
        ``spills``, there are no limits. ``most_bytes`` limits the values of one key, for a fold that keeps all of them:
        larger groups are not loaded but raise GroupTooLarge."""
        self._fold = fold
        self._spills = spills
        self._memory_bytes = memory_bytes
        self._load_bytes = load_bytes
        self._most_bytes = most_bytes
        self._bounds: list[bytes] = []
        self._ranges = [_Range(b"", None)]
        self._held_bytes = 0
        self._spill: Spill | None = None
        self._heavy: Counter[bytes] = Counter()
        """The total bytes of large values by key, a lower bound for all of the key's values."""

    def add(self, task: int, portions: Iterable[Table]) -> None:
        """Add the whole output of a task, or nothing if the portions raise an exception.

        Raises SpillFailed, or GroupTooLarge as soon as a key is certain to exceed ``most_bytes``.
        """
        staged: list[tuple[Order, list[tuple[_Range, bytes]]]] = []
        heavy: Counter[bytes] = Counter()
        for number, portion in enumerate(portions):
            table = _sorted(self._fold, portion)
            heavy += self._heavy_in(table)
            staged.append(((task, number), self._cut(table)))
        self._count(heavy)
        for order, segments in staged:
            self._keep(order, segments)
        if self._held_bytes > self._memory_bytes and self._spills is not None:
            self._put_away(self._spills)

    def tables(self, *, drain: bool) -> Iterator[Table]:
        """Yield the groups in the order of their keys. With ``drain``, they are dropped on the way, so it works only
        once.

        Raises SpillFailed, GroupTooLarge.
        """
        if self._spill is None and not self._bounds and self._is_too_large(self._ranges[0]):
            self._divide()
        for part in self._ranges:
            if self._is_too_large(part):
                yield from self._distributed(part)
            elif part.size:
                table = self._loaded(part)
                if drain:
                    part.held.clear()
                yield table
        if drain:
            self.close()

    def close(self) -> None:
        """Drop all data. May be called twice."""
        self._ranges = [_Range(b"", None)]
        self._bounds, self._held_bytes = [], 0
        if self._spill is not None:
            self._spill.close()

    # --- input --------------------------------------------------------------------------------------------------------

    def _heavy_in(self, table: Table) -> Counter[bytes]:
        names, values = table
        if self._most_bytes is None or not values or max(map(len, values)) < HEAVY_BYTES:
            return Counter()
        return Counter(
            {name: len(value) for name, value in zip(names, values, strict=True) if len(value) >= HEAVY_BYTES}
        )

    def _count(self, heavy: Counter[bytes]) -> None:
        self._heavy += heavy
        for name in heavy:
            if self._most_bytes is not None and self._heavy[name] > self._most_bytes:
                raise GroupTooLarge(name, self._heavy[name])

    def _cut(self, table: Table) -> list[tuple[_Range, bytes]]:
        """Cut a table that is sorted by key at the bounds of the ranges."""
        names, values = table
        places = [0, *(bisect_left(names, bound) for bound in self._bounds), len(names)]
        return [
            (part, _packed((names[start:stop], values[start:stop])))
            for part, (start, stop) in zip(self._ranges, pairwise(places), strict=True)
            if start < stop
        ]

    def _keep(self, order: Order, segments: Iterable[tuple[_Range, bytes]]) -> None:
        for part, data in segments:
            part.held.append((order, data))
            part.size += len(data)
            self._held_bytes += len(data) + SEGMENT_BYTES

    def _divide(self) -> None:
        """Divide the only range, which is entirely in memory, into many."""
        (whole,) = self._ranges
        self._set_bounds(_bounds([data for _, data in whole.held], self._step(whole.size)), whole)
        self._held_bytes = 0
        while whole.held:
            order, data = whole.held.pop()
            self._keep(order, self._cut(_unpacked(data)))

    def _set_bounds(self, bounds: list[bytes], whole: _Range) -> None:
        inner = (bound for bound in bounds if whole.low < bound and (whole.high is None or bound < whole.high))
        self._bounds = list(inner)
        lows = [whole.low, *self._bounds]
        self._ranges = [_Range(low, high) for low, high in zip(lows, [*self._bounds, whole.high], strict=True)]

    def _put_away(self, spills: Spills) -> None:
        if not self._bounds and self._spill is None:
            self._divide()
        if self._spill is None:
            self._spill = spills()
        for part in self._ranges:
            if part.held:
                lines = [piece for (task, portion), data in part.held for piece in _framed(task, portion, data)]
                extent = b"".join(lines)
                start = self._spill.append(extent)
                part.extents.append((start, start + len(extent)))
                part.held.clear()
        self._held_bytes = 0

    # --- output -------------------------------------------------------------------------------------------------------

    def _is_too_large(self, part: _Range) -> bool:
        return self._spills is not None and part.size > 2 * self._load_bytes and not part.is_one_key

    def _step(self, size: int) -> int:
        """Return the distance between samples, in bytes, that cuts ``size`` bytes into ranges that can be loaded."""
        return max(1, -(-size // min(MAX_RANGES, 2 + size // max(1, self._load_bytes))))

    def _segments(self, part: _Range) -> Iterator[tuple[Order, bytes]]:
        yield from part.held
        if self._spill is not None:
            for start, stop in part.extents:
                yield from _unframed(self._spill.read(start, stop))

    def _loaded(self, part: _Range) -> Table:
        if self._most_bytes is not None and part.is_one_key and part.size > self._most_bytes:
            raise GroupTooLarge(part.low, part.size)
        segments = sorted(self._segments(part), reverse=True)
        if len(segments) == 1:
            return _unpacked(segments[0][1])
        folded = self._fold(_unpacked(segments.pop()[1]) for _ in range(len(segments)))
        names = sorted(folded)
        return names, list(map(folded.pop, names))

    def _distributed(self, part: _Range) -> Iterator[Table]:
        """Group a range that is too large to load, by smaller ranges within it."""
        inner = Groups(
            self._fold,
            self._spills,
            memory_bytes=self._memory_bytes,
            load_bytes=self._load_bytes,
            most_bytes=self._most_bytes,
        )
        try:
            inner._set_bounds(_bounds((data for _, data in self._segments(part)), self._step(part.size)), part)
            for order, data in self._segments(part):
                inner._keep(order, inner._cut(_unpacked(data)))
                if inner._held_bytes > inner._memory_bytes and inner._spills is not None:
                    inner._put_away(inner._spills)
            yield from inner.tables(drain=True)
        finally:
            inner.close()


class GroupTooLarge(Exception):
    """The values of one key exceed the limit: they have at least ``size`` bytes."""

    def __init__(self, name: bytes, size: int) -> None:
        super().__init__(name, size)
        self.name = name
        self.size = size


def _after(name: bytes) -> bytes:
    """Return the immediate successor of a name in the order of bytes."""
    return name + b"\0"


def _bounds(segments: Iterable[bytes], step: int) -> list[bytes]:
    """Return the bounds of ranges of about ``step`` bytes each. A single key that takes more gets a range of its
    own."""
    met: Counter[bytes] = Counter()
    due = step // 2
    for data in segments:
        lines = data.split(b"\n")
        ends = list(accumulate(map(len, lines)))
        while due < ends[-1]:
            # Even lines are keys; each is followed by its value.
            met[lines[bisect_right(ends, due) & ~1]] += 1
            due += step
        due -= ends[-1]
    return sorted({*met, *(_after(name) for name, times in met.items() if times > 1 or len(met) == 1)})


def _sorted(fold: Fold, table: Table) -> Table:
    """Fold a table and sort it by its keys, unless it is already sorted without repeated keys."""
    if all(map(lt, table[0], table[0][1:])):
        return table
    folded = fold([table])
    names = sorted(folded)
    return names, list(map(folded.__getitem__, names))


def _packed(table: Table) -> bytes:
    names, values = table
    lines = [b""] * (2 * len(names))
    lines[::2], lines[1::2] = names, values
    return b"\n".join(lines)


def _unpacked(data: bytes) -> Table:
    lines = data.split(b"\n")
    return lines[::2], lines[1::2]


def _framed(task: int, portion: int, data: bytes) -> tuple[bytes, bytes]:
    return b"%d %d %d\n" % (task, portion, len(data)), data


def _unframed(extent: bytes) -> Iterator[tuple[Order, bytes]]:
    start = 0
    while start < len(extent):
        line_end = extent.index(b"\n", start)
        task, portion, size = map(int, extent[start:line_end].split())
        start = line_end + 1 + size
        yield (task, portion), extent[line_end + 1 : start]
