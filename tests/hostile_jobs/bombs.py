"""Jobs that take more than they are given: memory, processors, time, output, depth."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

from tests.hostile_jobs.reach import Target, libc, module, payload

MEMORY, TIME, OUTPUT, DEPTH = "memory bombs", "time", "output bombs", "deep data"


@payload(MEMORY)
def allocate_for_ever(_key: str, _target: Target) -> Any:
    hoard = []
    while True:
        hoard.append(b"x" * (1 << 20))


@payload(MEMORY)
def allocate_at_once(_key: str, _target: Target) -> Any:
    return [("got", len(b"x" * (1 << 28)))]


@payload(MEMORY)
def map_for_ever(_key: str, _target: Target) -> Any:
    library = libc()
    size = 1 << 24
    addresses = [library.mmap(None, size, 3, 0x22, -1, 0) for _ in range(20)]
    mapped = [address for address in addresses if address not in (None, (1 << 64) - 1)]
    for address in mapped:
        module("ctypes").memset(address, 1, size)
    return [("got", len(mapped) * 16)]


@payload(MEMORY)
def grow_one_block(_key: str, _target: Target) -> Any:
    block = bytearray(b"x" * (1 << 20))
    while len(block) < 1 << 28:
        block *= 2


@payload(MEMORY)
def square_a_string(_key: str, _target: Target) -> Any:
    return [("got", len("".join("x" * (1 << 15) for _ in range(1 << 13))))]


@payload(MEMORY)
def multiply_in_the_pickle_module(_key: str, _target: Target) -> Any:
    import pickle

    laughs: Any = b"ha" * (1 << 24)
    return [("got", len(pickle.dumps([laughs[:-n] for n in range(1, 12)])))]


@payload(TIME)
def spin_for_ever(_key: str, _target: Target) -> Any:
    while True:
        pass


@payload(TIME)
def spin_in_c(_key: str, _target: Target) -> Any:
    return [("got", 7 ** (10**9))]


@payload(TIME)
def backtrack_for_ever(_key: str, _target: Target) -> Any:
    import re

    return [("got", str(re.match(r"(a*)*b", "a" * 40)))]


@payload(TIME)
def sleep_for_ever(_key: str, _target: Target) -> Any:
    time.sleep(10**6)


@payload(TIME)
def catch_everything_and_sleep(_key: str, _target: Target) -> Any:
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


@payload(TIME)
def wait_for_a_lock_for_ever(_key: str, _target: Target) -> Any:
    import threading

    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@payload(OUTPUT)
def yield_for_ever(_key: str, _target: Target) -> Any:
    return ((number, "x" * 1000) for number in iter(int, 1))


@payload(OUTPUT)
def yield_what_is_large(_key: str, _target: Target) -> Any:
    return [("large", "x" * (1 << 21))]


@payload(OUTPUT)
def print_for_ever(_key: str, _target: Target) -> Any:
    while True:
        print("x" * 10_000)


@payload(OUTPUT, never="it is cut there, too")
def raise_what_is_large(_key: str, _target: Target) -> Any:
    raise ValueError("x" * (1 << 21))


@payload(DEPTH)
def recurse_in_c(_key: str, _target: Target) -> Any:
    sys.setrecursionlimit(10**9)
    nested: Any = []
    for _ in range(10**6):
        nested = [nested]
    return [("got", repr(nested))]


@payload(DEPTH)
def recurse_in_python(key: str, target: Target) -> Any:
    sys.setrecursionlimit(10**9)
    return recurse_in_python(key, target)


@payload(DEPTH)
def return_what_is_deep(_key: str, _target: Target) -> Any:
    sys.setrecursionlimit(10**9)
    nested: Any = []
    for _ in range(10**6):
        nested = [nested]
    return [("deep", nested)]


@payload(DEPTH, never="it is a failure there, too")
def return_what_holds_itself(_key: str, _target: Target) -> Any:
    loop: dict[str, Any] = {}
    loop["self"] = [loop]
    return [("loop", loop)]


@payload(DEPTH, never="it is a failure there, too")
def raise_what_has_no_end_of_causes(_key: str, _target: Target) -> Any:
    error = first = ValueError("0")
    for number in range(20_000):
        following = ValueError(str(number))
        following.__cause__ = error
        error = following
    first.__cause__ = error
    raise error
