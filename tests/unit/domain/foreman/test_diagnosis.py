import random
import time
import uuid

import pytest

from ec262.domain.foreman.job.diagnosis import Suspect, diagnose
from ec262.domain.work.outcome import Failure, Outcome, Pairs


def pairs(**values: object) -> Pairs:
    return Pairs(pairs=tuple(values.items()))


def test_equal_results_need_no_diagnosis() -> None:
    assert diagnose({"a": pairs(x=1), "b": pairs(x=1)}) is None
    assert diagnose({"a": pairs(x=1)}) is None


@pytest.mark.parametrize(
    ("first", "second", "suspect"),
    [
        (0.1 + 0.2, 0.3, Suspect.FLOATS),
        ([1, [0.1 + 0.2]], [1, [0.3]], Suspect.FLOATS),
        (["a", "b", "c"], ["c", "a", "b"], Suspect.ORDER),
        ("abc", "cab", Suspect.ORDER),
        (1_780_000_000.25, 1_780_000_003.5, Suspect.TIME),
        (1_780_000_000_250, 1_780_000_003_500, Suspect.TIME),
        (1_780_000_000_250_000_000, 1_780_000_003_500_000_000, Suspect.TIME),
        ("done at 2026-11-22", "done at 2026-11-23", Suspect.TIME),
        ("23:59:59", "00:00:01", Suspect.TIME),
        (str(uuid.UUID(int=1)), str(uuid.UUID(int=3 << 64)), Suspect.RANDOMNESS),
        (17, 42, Suspect.RANDOMNESS),
        (1_780_000_000.25, 1_999_000_003.5, Suspect.RANDOMNESS),
        ("17", 17, Suspect.CHEATING),
        (None, {"nothing": 0}, Suspect.CHEATING),
    ],
)
def test_two_different_results_are_described(first: object, second: object, suspect: Suspect) -> None:
    diagnosis = diagnose({"a": pairs(before=0, x=first), "b": pairs(before=0, x=second)})
    assert diagnosis is not None
    assert diagnosis.suspect is suspect
    assert "'x'" in diagnosis.difference.where
    assert diagnosis.workers == ("a", "b")


def test_the_first_key_that_differs_is_named_with_both_values() -> None:
    diagnosis = diagnose({"worker-one": pairs(a=1, b=2, c=3), "worker-two": pairs(a=1, b=7, c=9)})
    assert str(diagnosis).startswith(
        "the value of the key 'b': 2 (int) from worker worker-o, 7 (int) from worker worker-t;"
    )


def test_a_failure_beside_a_result_looks_like_cheating() -> None:
    failure = Failure(function="mapper", exception="ValueError", row="1", frames=(("map", 3),))
    diagnosis = diagnose({"a": pairs(x=1), "b": failure})
    assert diagnosis is not None
    assert diagnosis.suspect is Suspect.CHEATING


def test_a_liar_does_not_hide_what_honest_workers_differ_in() -> None:
    results: dict[str, Outcome] = {"a": pairs(x=0.1 + 0.2), "b": pairs(y="garbage"), "c": pairs(x=0.3)}
    diagnosis = diagnose(results)
    assert diagnosis is not None
    assert diagnosis.suspect is Suspect.FLOATS
    assert diagnosis.workers == ("a", "c")


@pytest.mark.parametrize(
    ("function", "suspect"),
    [(time.time, Suspect.TIME), (time.time_ns, Suspect.TIME), (random.SystemRandom().random, Suspect.RANDOMNESS)],
)
def test_real_sources_are_distinguished(function: object, suspect: Suspect) -> None:
    assert callable(function)
    results: dict[str, Outcome] = {}
    for worker in "abc":
        results[worker] = pairs(x=function())
        time.sleep(0.001)
    diagnosis = diagnose(results)
    assert diagnosis is not None
    assert diagnosis.suspect is suspect
