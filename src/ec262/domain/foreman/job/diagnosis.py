"""Why the results of one task differ, as far as a dispute shows.

Honest machines differ if the job's code depends on something that varies between them or from one run to the next; the
results of liars differ because they lie. A few results never prove the cause: a diagnosis names the likely one, and the
place of the difference.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import attrs

from ec262.domain.foreman.job.difference import LAST_DIGITS, REORDERED, Difference, first_difference
from ec262.domain.work.outcome import Outcome, Pairs, Stopped

_EPOCH = 1_000_000_000
"""The time in 2001 (Unix seconds): a number that is at least this large in some unit may be a time."""
_UNITS = (1, 10**3, 10**6, 10**9)
_DATE = re.compile(r"\b(19|20)\d\d-\d\d-\d\d|\b\d\d:\d\d:\d\d")
_DAY_S = 24 * 3600


class Suspect(enum.Enum):
    """What differing results look like, and what to do about it."""

    FLOATS = "floats that differ in their last digits: --round-floats 12 makes them equal"
    ORDER = "an order that differs between machines, such as that of a set: sort the items"
    TIME = "the clock: pass times in as data"
    RANDOMNESS = (
        "randomness without a seed, or memory addresses (os.urandom, uuid4, random.SystemRandom, id()): use the "
        "functions of the random module, which is seeded for each row"
    )
    RESOURCES = "machines of different speed or size: use smaller rows, more tasks or higher limits"
    CHEATING = "workers that did not compute the task: other workers are asked"


@attrs.frozen(kw_only=True)
class Diagnosis:
    """``difference`` is the first difference between the results of ``workers``, which show the cause best."""

    suspect: Suspect
    difference: Difference
    workers: tuple[str, str]

    def __str__(self) -> str:
        first, second = self.workers
        return (
            f"{self.difference.where}: {self.difference.first} from worker {first[:8]}, "
            f"{self.difference.second} from worker {second[:8]}; the cause looks like {self.suspect.value}"
        )


def diagnose(results: Mapping[str, Outcome]) -> Diagnosis | None:
    """Diagnose the committed results, given by worker; None if no two of them differ.

    An honest cause is preferred as soon as one pair of results shows it.
    """
    suspects: list[Diagnosis] = []
    for first, second in combinations(sorted(results), 2):
        difference = first_difference(results[first], results[second])
        if difference is not None:
            suspect = _suspect(results[first], results[second], difference)
            suspects.append(Diagnosis(suspect=suspect, difference=difference, workers=(first, second)))
    if not suspects:
        return None
    counts = Counter(diagnosis.suspect for diagnosis in suspects)
    # A liar differs from all others, so one pair of honest workers is enough to show another cause.
    honest = [diagnosis for diagnosis in suspects if diagnosis.suspect is not Suspect.CHEATING]
    likely = honest or suspects
    return max(likely, key=lambda diagnosis: counts[diagnosis.suspect])


def _suspect(first: Outcome, second: Outcome, difference: Difference) -> Suspect:
    if isinstance(first, Stopped) or isinstance(second, Stopped):
        return Suspect.RESOURCES
    if not isinstance(first, Pairs) or not isinstance(second, Pairs) or not _are_alike(first, second):
        return Suspect.CHEATING
    if difference.leaves is not None and _are_times(*difference.leaves):
        return Suspect.TIME
    if difference.hint == LAST_DIGITS:
        return Suspect.FLOATS
    if difference.hint == REORDERED:
        return Suspect.ORDER
    return Suspect.RANDOMNESS


def _are_alike(first: Pairs, second: Pairs) -> bool:
    """Tell whether two results could come from the same code: their keys and values have the same types."""
    return _types(first) == _types(second)


def _types(outcome: Pairs) -> set[tuple[type, type]]:
    return {(type(key), type(value)) for key, value in outcome.pairs}


def _are_times(first: Any, second: Any) -> bool:
    if isinstance(first, str) and isinstance(second, str):
        return bool(_DATE.search(first) and _DATE.search(second))
    if isinstance(first, int | float) and isinstance(second, int | float):
        low, high = sorted((abs(first), abs(second)))
        return any(
            _EPOCH * unit <= low and high - low <= _DAY_S * unit and high < 10 * _EPOCH * unit for unit in _UNITS
        )
    return False
