"""Tasks sized by time: rows are cut into partitions one after another, based on how long the first ones took.

The first tasks are small. The next ones are sized by the median time per row so that they take about a second, and
smaller ones follow towards the end, so that all workers are busy until then (Hummel, Schonberg, Flynn, "Factoring",
1992). How rows are cut does not affect the result of a job. The times are reported by strangers, so they have limits:
no partition exceeds its size in bytes or grows too fast, and no more partitions are cut than the credits allow.

A task may yield far more bytes than its rows have. How much the first tasks yielded limits the size of the next ones,
so that their results stay well below the maximum size of a result. Until the first result arrives, tasks grow slowly.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from statistics import median

TARGET_S = 1.0
"""The time that a task should take: long compared to its overhead, but short enough that losing it costs little."""

SHARED_TARGET_S = 3.0
"""The same if all workers share one machine, which runs more tasks than it has processors: a task then gets about a
third of its time on a processor. A combiner leaves about as many pairs of a larger task as of a small one."""

LEAST_S = 0.5
"""The minimum time, even at the end: forking, lockdown, encryption and commitment cost three workers about 20 ms."""

SHARES = 2
"""The remaining rows are cut into at least this many tasks per team; faster teams get more of them."""

FIRST_SHARE = 32
"""A first task gets 1 / FIRST_SHARE of a team's share of all rows, so that tasks of unknown duration never matter."""

FIRST_PIECES = 64
"""The maximum number of pieces of a first task."""

GROWTH = 32
"""The maximum ratio of a task's size to the largest timed one: later rows may be harder."""

EARLY_GROWTH = 4
"""The same until the first result shows how much rows yield."""

RESULT_SHARE = 4
"""A task should yield 1 / RESULT_SHARE of the maximum result, because some rows yield more than previous ones."""

REMEMBERED = 9
"""The number of recent times for the median, since rows may become harder. Each task contributes about three."""

INSTANT_S = 1e-6
"""The minimum time that is believed."""


class TimedCut:
    """Cuts consecutive pieces of these sizes (bytes) into partitions, based on the times that they took.

    ``at_once`` is how many tasks the pool computes at a time, and ``most_tasks`` how many the credits allow. If these
    suffice, a task does not exceed ``most_bytes``. ``most_result_bytes`` is the maximum size of a result. With
    ``hold``, only as many partitions are cut as the workers need to have the next one while they compute: they share a
    machine and would take more than it can compute.

    Tasks are requested before their rows are known: ``begin`` returns how many there are at first, ``next`` how many to
    add. While there are rows, at least one task is to come, and at least one piece remains for each.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        at_once: int,
        most_tasks: int,
        most_bytes: int,
        most_result_bytes: int,
        hold: bool = False,
    ) -> None:
        self._weights = [0, *accumulate(size + 1 for size in sizes)]
        self._at_once = at_once
        self._most_tasks = most_tasks
        self._most_bytes = most_bytes
        self._result_bytes = most_result_bytes / RESULT_SHARE
        self._yield: float | None = None
        """The maximum number of bytes that a task has yielded per byte of its rows; None if there is no result yet."""
        self._hold = hold
        self._cut = 0
        self._to_come = 0
        self._stop = 0
        self._under_way: set[int] = set()
        self._rates: deque[float] = deque(maxlen=REMEMBERED)
        self._largest = 0

    def begin(self) -> int:
        """Return the initial number of tasks. To be called once."""
        self._to_come = min(2 * self._at_once, self._most_tasks, self._pieces_left)
        return self._to_come

    @property
    def has_room(self) -> bool:
        """Whether the next partition may be cut now, or only after one under way is computed."""
        return not self._hold or len(self._under_way) < self._at_once * (2 if self._rates else 1)

    def next(self) -> tuple[range, int]:
        """Cut the next task; return its pieces, and how many tasks to add."""
        start, self._stop = self._stop, self._end()
        self._cut += 1
        self._to_come -= 1
        self._under_way.add(start)
        more = max(0, self._tasks_wanted() - self._to_come)
        self._to_come += more
        return range(start, self._stop), more

    def took(self, pieces: range, seconds: float) -> None:
        """Record how long a worker claims to have computed a partition."""
        weight = self._weights[pieces.stop] - self._weights[pieces.start]
        self._rates.append(max(seconds, INSTANT_S) / weight)
        self._largest = max(self._largest, weight)

    def yielded(self, pieces: range, result_bytes: int) -> None:
        """Record the size of the result of a partition."""
        weight = self._weights[pieces.stop] - self._weights[pieces.start]
        self._yield = max(self._yield or 0.0, result_bytes / weight)

    def computed(self, pieces: range) -> None:
        """Record that a partition was computed."""
        self._under_way.discard(pieces.start)

    @property
    def beyond(self) -> int:
        """The approximate number of tasks that will follow those already requested."""
        expected = -(-self._rest // self._wanted()) if self._pieces_left else 0
        return max(0, min(expected, self._pieces_left, self._tasks_left) - self._to_come)

    # --- sizes --------------------------------------------------------------------------------------------------------

    @property
    def _pieces_left(self) -> int:
        return len(self._weights) - 1 - self._stop

    @property
    def _rest(self) -> int:
        return self._weights[-1] - self._weights[self._stop]

    @property
    def _tasks_left(self) -> int:
        return self._most_tasks - self._cut

    def _wanted(self) -> int:
        """Return the desired weight of the next task."""
        if not self._rates:
            few = self._weights[min(self._stop + FIRST_PIECES, len(self._weights) - 1)] - self._weights[self._stop]
            return max(1, min(self._weights[-1] // (self._at_once * FIRST_SHARE), few, self._most_bytes))
        rate = median(self._rates)
        share = self._rest / (self._at_once * SHARES)
        # Workers on one machine are equally fast, and each gets only part of a processor.
        target_s, least_s = (SHARED_TARGET_S, TARGET_S) if self._hold else (TARGET_S, LEAST_S)
        by_time = max(min(target_s / rate, share), least_s / rate)
        return max(1, int(min(by_time, self._most_growth(), self._most_bytes)))

    def _most_growth(self) -> float:
        """Return the maximum weight of the next task, given the sizes of previous tasks and results."""
        if self._yield is None:
            return EARLY_GROWTH * self._largest
        by_result = self._result_bytes / self._yield if self._yield else math.inf
        return min(GROWTH * self._largest, by_result)

    def _end(self) -> int:
        """Return where the next partition ends."""
        pieces = len(self._weights) - 1
        last = self._stop + self._pieces_left - (self._to_come - 1)
        if self._tasks_left == 1 or last == self._stop + 1:
            return last
        weight = max(min(self._wanted(), self._rest // self._to_come), -(-self._rest // self._tasks_left))
        if self._to_come == 1 and self._is_crumb(self._rest - weight, weight):
            return pieces
        target = self._weights[self._stop] + weight
        after = bisect_left(self._weights, target)
        # Pieces may be large, so choose the nearest end, as ``split`` does.
        before = target - self._weights[after - 1] < self._weights[min(after, pieces)] - target
        return min(max(after - before, self._stop + 1), last)

    def _is_crumb(self, left: int, weight: int) -> bool:
        """Tell whether a task would leave so little that it should take the rest, too."""
        if not self._rates or self._rest > self._most_bytes or left > weight / 2:
            return False
        return left * median(self._rates) < LEAST_S / 2

    def _tasks_wanted(self) -> int:
        """Return how many requested tasks should be waiting: as many as are under way, so that each has a successor."""
        if not self._pieces_left:
            return 0
        followed = self._at_once if self._hold else max(self._at_once, len(self._under_way))
        return max(1, min(-(-self._rest // self._wanted()), followed, self._pieces_left, self._tasks_left))
