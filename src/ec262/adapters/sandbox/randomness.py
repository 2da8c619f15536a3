"""The ``random`` module's generator, seeded anew for each row: same job, phase and row, same numbers, however rows are
packed into tasks.

Seeding takes 8 us, more than many a row does in all, so it waits for the first use in a row: until then the generator
is of a class whose every way in seeds it first and turns it back into a plain ``Random``.
"""

from __future__ import annotations

import hashlib
import random
import struct
import sys
from typing import Any

_generator: random.Random = random.seed.__self__  # type: ignore[attr-defined]  # the object behind the functions
_material = b""


class _Unseeded(random.Random):
    """The generator before its first use in a row."""

    def random(self) -> float:
        _seed_now()
        return _generator.random()

    def getrandbits(self, k: int, /) -> int:
        _seed_now()
        return _generator.getrandbits(k)

    def getstate(self) -> tuple[Any, ...]:
        _seed_now()
        return _generator.getstate()

    def seed(self, *args: Any, **kwargs: Any) -> None:
        leave_alone()
        _generator.seed(*args, **kwargs)

    def setstate(self, state: tuple[Any, ...]) -> None:
        leave_alone()
        _generator.setstate(state)


_WAYS_IN = ("random", "getrandbits", "getstate", "seed", "setstate")


def seed_row(material: bytes) -> None:
    """From now on randomness follows from ``material``, of any length; numpy's old global generator, too."""
    global _material  # noqa: PLW0603 - the generator is global, and so is what it waits for
    _material = material
    if type(_generator) is not _Unseeded:
        _become(_Unseeded)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(struct.unpack("<8I", hashlib.sha256(material).digest()))


def leave_alone() -> None:
    """Make the generator a plain one again, in whatever state it is."""
    _become(random.Random)


def _seed_now() -> None:
    # A job may hold on to a bound method of the other class.
    if type(_generator) is _Unseeded:
        leave_alone()
        _generator.seed(int.from_bytes(hashlib.sha256(_material).digest()))


def _become(kind: type[random.Random]) -> None:
    _generator.__class__ = kind
    # The module's functions are bound methods, made once: those that differ between the classes are made anew.
    for name in _WAYS_IN:
        setattr(random, name, getattr(_generator, name))
