"""Tasks sized by time: rows are cut into partitions one after the other, from how long the first ones took.

The first tasks are small. From the median time that rows have taken, the next ones are made to take about a second,
and smaller towards the end, so that all workers have something to do until then (Hummel, Schonberg, Flynn,
"Factoring", 1992). How rows are cut has no part in what a job yields; and times are what strangers tell: whatever they
say, no partition passes its size in bytes, or grows many times at once, and no more are cut than the purse can bear.

A task may yield far more bytes than its rows have. How much the first tasks yielded limits the size of the next ones,
so that their results stay well below what a task may return. Until the first result is there, tasks grow little.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from statistics import median

TARGET_S = 1.0
"""What a task should take: long beside what it costs, short beside what is lost with it."""

SHARED_TARGET_S = 3.0
"""The same where all workers share one machine, and more tasks are under way than it has processors for: a task has
about a third of its time to itself then. What a combiner leaves of a task's pairs is much the same for larger ones."""

LEAST_S = 0.5
"""Not even at the end should it take less: to fork, lock down, encrypt and commit costs three workers about 20 ms."""

SHARES = 2
"""The rest of the rows is worth so many tasks to each team, or more: the faster ones get more of them."""

FIRST_SHARE = 32
"""A first task has one part in so many of a team's share of all rows, so what is cut blindly never matters."""

FIRST_PIECES = 64
"""Nor has it more pieces than this, however many there are."""

GROWTH = 32
"""A task is at most so many times as large as the largest that was timed: others may have harder rows."""

EARLY_GROWTH = 4
"""The same as long as no result has shown how much rows yield."""

RESULT_SHARE = 4
"""A task is made to yield one part in this many of what it may return: some rows yield more than those before."""

REMEMBERED = 9
"""Times that the median is taken of: the last ones, as rows may become harder on the way. Three workers a task tell."""

INSTANT_S = 1e-6
"""No task is believed to have taken less."""


class TimedCut:
    """Cuts consecutive pieces of these sizes (bytes) into partitions; it is told what they took.

    ``at_once`` is how many tasks the pool computes at a time and ``most_tasks`` how many the purse can bear. Where
    these suffice, a task does not pass ``most_bytes``. ``most_result_bytes`` is what a task may return. With ``hold``
    no more are cut than the workers need to have the next while they compute: they share a machine, and take more than
    it can compute.

    Tasks are asked for before their rows are known: ``begin`` says how many there are at first, ``next`` how many there
    are to be besides. There is at least one to come while there are rows, and at least one piece for each.
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
        """The most bytes that a task has yielded for each byte of its rows; None: no result is known."""
        self._hold = hold
        self._cut = 0
        self._to_come = 0
        self._stop = 0
        self._under_way: set[int] = set()
        self._rates: deque[float] = deque(maxlen=REMEMBERED)
        self._largest = 0

    def begin(self) -> int:
        """Return how many tasks there are at first. To be called once."""
        self._to_come = min(2 * self._at_once, self._most_tasks, self._pieces_left)
        return self._to_come

    @property
    def has_room(self) -> bool:
        """Whether the next partition is to be cut now; else when one that is under way was computed."""
        return not self._hold or len(self._under_way) < self._at_once * (2 if self._rates else 1)

    def next(self) -> tuple[range, int]:
        """Cut the next of the tasks to come; return its pieces, and how many tasks there are besides from now on."""
        start, self._stop = self._stop, self._end()
        self._cut += 1
        self._to_come -= 1
        self._under_way.add(start)
        more = max(0, self._tasks_wanted() - self._to_come)
        self._to_come += more
        return range(start, self._stop), more

    def took(self, pieces: range, seconds: float) -> None:
        """Take in how long somebody says to have computed a partition."""
        weight = self._weights[pieces.stop] - self._weights[pieces.start]
        self._rates.append(max(seconds, INSTANT_S) / weight)
        self._largest = max(self._largest, weight)

    def yielded(self, pieces: range, result_bytes: int) -> None:
        """Take in how large the result of a partition is."""
        weight = self._weights[pieces.stop] - self._weights[pieces.start]
        self._yield = max(self._yield or 0.0, result_bytes / weight)

    def computed(self, pieces: range) -> None:
        """Take in that a partition was computed."""
        self._under_way.discard(pieces.start)

    @property
    def beyond(self) -> int:
        """About how many tasks will follow those that were asked for."""
        expected = -(-self._rest // self._wanted()) if self._pieces_left else 0
        return max(0, min(expected, self._pieces_left, self._tasks_left) - self._to_come)

    # --- how large ----------------------------------------------------------------------------------------------------

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
        """Return what the next task should weigh."""
        if not self._rates:
            few = self._weights[min(self._stop + FIRST_PIECES, len(self._weights) - 1)] - self._weights[self._stop]
            return max(1, min(self._weights[-1] // (self._at_once * FIRST_SHARE), few, self._most_bytes))
        rate = median(self._rates)
        share = self._rest / (self._at_once * SHARES)
        # Workers on one machine are equally fast, and a second of theirs is less than one.
        target_s, least_s = (SHARED_TARGET_S, TARGET_S) if self._hold else (TARGET_S, LEAST_S)
        by_time = max(min(target_s / rate, share), least_s / rate)
        return max(1, int(min(by_time, self._most_growth(), self._most_bytes)))

    def _most_growth(self) -> float:
        """Return what the next task may weigh, going by how large tasks and their results were so far."""
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
        # Pieces may be large: the nearest end, as they are cut elsewhere.
        before = target - self._weights[after - 1] < self._weights[min(after, pieces)] - target
        return min(max(after - before, self._stop + 1), last)

    def _is_crumb(self, left: int, weight: int) -> bool:
        """Tell whether so little would be left by a task that it had better take it, too."""
        if not self._rates or self._rest > self._most_bytes or left > weight / 2:
            return False
        return left * median(self._rates) < LEAST_S / 2

    def _tasks_wanted(self) -> int:
        """Return how many tasks there should be to come: as many as are under way, so that they can all be followed."""
        if not self._pieces_left:
            return 0
        followed = self._at_once if self._hold else max(self._at_once, len(self._under_way))
        return max(1, min(-(-self._rest // self._wanted()), followed, self._pieces_left, self._tasks_left))
