"""What is done for every pair costs a bounded number of calls: counted, not timed, so no noise can trip these tests.

A call of a Python or a C function counts as one. Whoever makes one of these paths slower by a call a pair is told.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from ec262.adapters.sandbox.log import Log
from ec262.adapters.sandbox.runner import Run
from ec262.domain.foreman.data.partition import encode_row
from ec262.domain.values import canonical
from ec262.domain.values.pairs import encode_pairs
from ec262.domain.work.outcome import Pairs, decode_outcome, encode_outcome

COUNT = 2000
REPEATED = tuple((f"word {number % 50}", number) for number in range(COUNT))
ONES = tuple((word, 1) for word, _ in REPEATED)
DIFFERENT = tuple((f"word {number}", 1.5) for number in range(COUNT))
TUPLES = tuple(((number, "x"), number) for number in range(COUNT))
ROWS = [[f"line {number}", "text " * 5] for number in range(COUNT)]


def nested(leaf: bytes) -> bytes:
    """Return canonical lists of eight, each in the next, COUNT lists in all."""
    spine = b"[[],[],[],[],[],[],[]," * 80 + leaf + b"]" * 80
    return b"[" + b",".join([spine] * (COUNT // 640)) + b"]"


def calls_of(function: Callable[..., Any], *arguments: Any) -> int:
    """Count the calls that a call makes."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    function(*arguments)  # what Python looks up once, as the classes that an abstract one stands for
    gc.collect()
    gc.disable()  # what other tests left would be finalized, and those calls counted
    sys.setprofile(count)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


@pytest.mark.parametrize(
    ("most", "function", "arguments"),
    [
        pytest.param(1.2, encode_outcome, [Pairs(pairs=REPEATED)], id="encode repeated keys"),
        pytest.param(0.05, encode_outcome, [Pairs(pairs=DIFFERENT)], id="encode different keys"),
        pytest.param(0.1, encode_outcome, [Pairs(pairs=ONES)], id="encode words counted one by one"),
        pytest.param(28, encode_outcome, [Pairs(pairs=TUPLES)], id="encode keys that are tuples"),
        pytest.param(0.06, decode_outcome, [encode_outcome(Pairs(pairs=REPEATED))], id="decode repeated keys"),
        pytest.param(0.06, decode_outcome, [encode_outcome(Pairs(pairs=DIFFERENT))], id="decode different keys"),
        pytest.param(1, canonical.decode, [nested(b"[]")], id="read nested lists"),
        pytest.param(14, canonical.decode, [nested(b'{"$tuple":[]}')], id="read nested lists with a tuple inside"),
        pytest.param(0.05, encode_pairs, [REPEATED], id="encode for the shuffle"),
        pytest.param(0.03, canonical.encode_each, [list(range(COUNT))], id="encode scalars"),
        pytest.param(0.06, canonical.decode, [canonical.encode(ROWS)], id="read a value"),
        pytest.param(30, lambda rows: [encode_row(*row) for row in rows], [ROWS], id="encode rows"),
    ],
)
def test_the_calls_for_a_pair_are_bounded(most: float, function: Callable[..., Any], arguments: list[Any]) -> None:
    function(*arguments)  # what only the first call does in a process is not counted
    assert calls_of(function, *arguments) / COUNT <= most


@pytest.mark.parametrize(
    ("most", "job", "rows"),
    [
        pytest.param(17, {"mapper": lambda key, text: [(key, text)]}, ROWS, id="a row"),
        pytest.param(
            3.4,
            {"mapper": lambda _key, text: [(word, 1) for word in text], "combiner": lambda key, _: [(key, 1)]},
            [[number, "abcdefghij" * 20] for number in range(COUNT // 200)],
            id="a combined pair",
        ),
    ],
)
def test_the_calls_for_a_row_and_a_pair_in_a_task_are_bounded(
    monkeypatch: pytest.MonkeyPatch, most: float, job: dict[str, Any], rows: Any
) -> None:
    monkeypatch.delitem(sys.modules, "numpy.random", raising=False)  # it is seeded for each row if a test has loaded it
    run = Run(phase="map", seed=0, log=Log(1000))
    functions, data = cloudpickle.dumps(job), canonical.encode(rows)
    assert calls_of(run.compute, functions, data) / COUNT <= most
