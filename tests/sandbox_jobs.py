"""Work for sandboxes, for the tests that need some."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ec262.adapters.jobs.pickling import pickle_by_value
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.domain.ports.sandbox import Sandbox
from ec262.domain.values import canonical
from ec262.domain.work.outcome import Failure, Pair, Pairs, decode_outcome
from ec262.domain.work.work import Computed, Limits, Phase, Work
from tests.canaries import has

Function = Callable[..., Any]

REPOSITORY = Path(__file__).parents[1]

LIMITS = Limits(cpu_s=20, wall_s=20, memory_bytes=256 << 20, output_bytes=32 << 20)


def pickled(**functions: Function | None) -> bytes:
    """Pickle functions as a foreman does: those of test modules travel by value."""
    modules = {function.__module__ for function in functions.values() if function is not None}
    modules |= {name for name in sys.modules if name.startswith("tests.")}
    return pickle_by_value(functions, *modules)


def map_work(
    mapper: Function,
    rows: Iterable[Pair] = (("row", None),),
    *,
    combiner: Function | None = None,
    partitioner: Function | None = None,
    seed: int = 0,
    round_floats: int = 0,
) -> Work:
    functions = pickled(mapper=mapper, combiner=combiner, partitioner=partitioner)
    return Work(phase=Phase.MAP, functions=functions, rows=encoded(rows), seed=seed, round_floats=round_floats)


def reduce_work(reducer: Function, rows: Iterable[Pair], *, seed: int = 0) -> Work:
    return Work(phase=Phase.REDUCE, functions=pickled(reducer=reducer), rows=encoded(rows), seed=seed)


def encoded(rows: Iterable[Pair]) -> bytes:
    return canonical.encode([[key, value] for key, value in rows])


def pairs_of(computed: Computed) -> list[Pair]:
    outcome = decode_outcome(computed.outcome)
    assert isinstance(outcome, Pairs), (outcome, computed.log.decode())
    return list(outcome.pairs)


def failure_of(computed: Computed) -> Failure:
    outcome = decode_outcome(computed.outcome)
    assert isinstance(outcome, Failure), outcome
    return outcome


def count_words(_key: Any, text: str) -> Iterable[Pair]:
    for word in text.split():
        yield word, 1


def sleep(_key: Any, _value: Any) -> None:
    time.sleep(600)


def environment() -> dict[str, str]:
    """Return an environment in which another process finds what this one does."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return kept | {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)])}


def zygote_of(sandbox: LinuxSandbox) -> int:
    """Return the process id of a sandbox's zygote."""
    assert sandbox._zygote is not None
    return sandbox._zygote._process.pid


async def is_idle(sandbox: LinuxSandbox) -> bool:
    """Whether a sandbox has, soon, no processes but its zygote and a child that waits for the next task."""
    await spare_was_tried(sandbox)
    return await has(zygote_of(sandbox), 2)


async def spare_was_tried(sandbox: LinuxSandbox) -> None:
    """Wait until a child for the next task was forked, or could not be."""
    assert sandbox._spare is not None
    while sandbox._spare._forking is None:  # noqa: ASYNC110 - it knows no event for this, tests alone ask
        await asyncio.sleep(0.001)
    await asyncio.wait([sandbox._spare._forking])


async def is_busy(sandbox: LinuxSandbox) -> bool:
    """Whether a sandbox has, soon, no processes but its zygote and a child that has a task."""
    assert sandbox._spare is not None
    while sandbox._spare._forking is not None:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    return await has(zygote_of(sandbox), 2)


async def assert_serves(sandbox: Sandbox) -> None:
    """See that the sandbox does a job right."""
    computed = await sandbox.run(map_work(count_words, [(1, "b a"), (2, "a")]), LIMITS)
    assert pairs_of(computed) == [("a", 1), ("a", 1), ("b", 1)]
    assert computed.log == b""


@asynccontextmanager
async def served() -> AsyncIterator[LinuxSandbox]:
    """A sandbox that has done a job and whose next child waits."""
    box = LinuxSandbox()
    await box.start()
    try:
        await assert_serves(box)
        assert await is_idle(box)
        yield box
    finally:
        await box.close()
