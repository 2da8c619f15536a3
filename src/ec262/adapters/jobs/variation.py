"""A job's functions in other circumstances: with another clock, with objects at other addresses.

The functions are wrapped in a pickle that changes the interpreter when it is loaded, in the sandbox as all of a job is,
and then loads them. No sandbox has to know.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import pickle
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import attrs

from ec262.adapters.jobs.pickling import pickle_by_value
from ec262.domain.foreman.job.determinism import HERE, Circumstances

TICK_NS = 1_000_000
START_NS = 1_000_000_000 * 1_000_000_000


def vary(functions: bytes, circumstances: Circumstances) -> bytes:
    """Return pickled functions that find themselves in such circumstances; the hash seed is the sandbox's to choose."""
    if attrs.evolve(circumstances, hash_seed=0) == HERE:
        return functions
    shift_ns = int(circumstances.clock_shift_s * 1e9)
    changes = shift_ns, circumstances.moved, circumstances.ticking, circumstances.counted
    return pickle_by_value(_Entering(functions, *changes), __name__)


class _Entering:
    """Pickles as a call of ``enter``."""

    def __init__(self, *arguments: object) -> None:
        self._arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return enter, self._arguments


# --- what happens in the sandbox ------------------------------------------------------------------------------------


def enter(functions: bytes, shift_ns: int, moved: int, ticking: bool, counted: bool) -> Any:  # noqa: FBT001 - travels as positions
    """Change the interpreter, then load the functions."""
    _set_clocks(shift_ns, ticking=ticking)
    if counted:
        _count_random_bits()
    if moved:
        _move_objects(moved)
    return pickle.loads(functions)  # noqa: S301 - in the sandbox, where the job would be loaded otherwise


def _move_objects(blocks: int) -> None:
    """Before each row, take some of the free memory of each size, so that what is made next lies elsewhere."""
    runner = sys.modules["ec262.adapters.sandbox.randomness"]  # it is told of each row, just before the function is
    seed_row = runner.seed_row
    taken: list[object] = []

    def take_and_seed(material: bytes) -> None:
        seed_row(material)
        taken[:] = [(object(), complex(n), *map(bytes, range(1, 480, 16))) for n in range(blocks)]

    runner.seed_row = take_and_seed  # type: ignore[attr-defined]  # to replace it is the point, here and below


def _count_random_bits() -> None:
    """Have what is random without a seed, and the number of the process, be counted up from 1."""
    count = 0

    def urandom(size: int, /) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_128(count.to_bytes(8)).digest(size)

    seed = random.Random.seed

    def seed_known(self: random.Random, a: Any = None, version: int = 2) -> None:
        seed(self, int.from_bytes(urandom(32)) if a is None else a, version)

    os.urandom = urandom
    random._urandom = urandom  # type: ignore[attr-defined]  # noqa: SLF001 - what SystemRandom calls
    os.getpid = lambda: 1
    random.Random.seed = seed_known  # type: ignore[method-assign]  # as above


def _set_clocks(shift_ns: int, *, ticking: bool) -> None:
    """Have all that tells time in Python code tell another, ``shift_ns`` ahead, or one that goes by being asked."""
    wall_ns = time.time_ns
    ticks = 0

    def now_ns() -> int:
        nonlocal ticks
        ticks += 1
        return shift_ns + (START_NS + ticks * TICK_NS if ticking else wall_ns())

    def now(seconds: float | None = None) -> float:
        return now_ns() / 1e9 if seconds is None else seconds

    for name in ("time", *(("monotonic", "perf_counter", "process_time", "thread_time") if ticking else ())):
        setattr(time, name, lambda: now_ns() / 1e9)
        setattr(time, f"{name}_ns", now_ns)

    def in_parts(read: Callable[[float], Any]) -> Callable[..., Any]:
        return lambda seconds=None: read(now(seconds))

    strftime = time.strftime
    for name in ("gmtime", "localtime", "ctime"):
        setattr(time, name, in_parts(getattr(time, name)))
    time.strftime = lambda text, moment=None: strftime(text, time.localtime() if moment is None else moment)
    _replace_datetime(now)


def _replace_datetime(now: Callable[[], float]) -> None:
    """``datetime.now`` asks the kernel and no function of ``time``: put a class in its place that does."""
    real = datetime.datetime

    class Kind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)  # also what was made by modules that were loaded before

    class Moment(real, metaclass=Kind):  # type: ignore[misc, valid-type]  # a variable that holds a class
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls.fromtimestamp(now(), tz)

        @classmethod
        def today(cls) -> Any:
            return cls.fromtimestamp(now())

        @classmethod
        def utcnow(cls) -> Any:
            return cls.fromtimestamp(now(), datetime.UTC).replace(tzinfo=None)

    Moment.__name__ = Moment.__qualname__ = "datetime"
    Moment.__module__ = "datetime"
    datetime.datetime = Moment  # type: ignore[misc]  # as above
