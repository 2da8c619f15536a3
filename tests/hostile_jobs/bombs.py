"""Jobs that take more than they are given: memory, processors, time, output, depth."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

from tests.hostile_jobs.reach import Target, call, libc, module, payload, worked

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


PAGE, BLOCK = 4096, 16 << 20
MOST_BYTES = 128 << 20
"""More than a task of the corpus may have."""


@payload(MEMORY)
def keep_pages_without_address_space(_key: str, _target: Target) -> Any:
    mmap = module("mmap")
    kept, held = [], 0
    while held <= MOST_BYTES:
        block = mmap.mmap(-1, BLOCK)  # shared
        for page in range(0, BLOCK, PAGE):
            block[page] = 1
        block.resize(PAGE)  # address space is given back; the pages stay, because others could share them
        kept.append(block)
        held += BLOCK
    return worked(success=True)


def map_with(flags: int, protection: int = 3) -> bool:
    address = libc().mmap(None, BLOCK, protection, flags, -1, 0)
    return address not in (None, (1 << 64) - 1)


SHARED_KINDS = (0x21, 0x23, 0x28)  # MAP_SHARED, MAP_SHARED_VALIDATE, MAP_DROPPABLE, each with MAP_ANONYMOUS


@payload(MEMORY)
def map_memory_of_every_kind_but_private(_key: str, _target: Target) -> Any:
    others = (0x0, 0x4000, 0x8000, 0x20000, 0x4000000)  # none, or beside NORESERVE, POPULATE, STACK, UNINITIALIZED
    return worked(any(map_with(kind | other) for kind in SHARED_KINDS for other in others))


@payload(MEMORY)
def map_private_memory_with_odd_flags(_key: str, _target: Target) -> Any:
    odd = (0x100, 0x2000, 0x8000, 0x40000, 0x100000, 0x4000000)  # GROWSDOWN, LOCKED, POPULATE, HUGETLB, ...
    return worked(any(map_with(0x22 | flag) for flag in odd) or map_with(0x22, 0x8 | 3))  # PROT_SEM


@payload(MEMORY)
def remap_without_unmapping(_key: str, _target: Target) -> Any:
    address = libc().mmap(None, BLOCK, 3, 0x22, -1, 0)
    moved = call("mremap", module("ctypes").c_void_p(address), BLOCK, BLOCK, 1 | 4, None)  # MREMAP_DONTUNMAP
    return worked(moved > 0)


@payload(MEMORY)
def remap_to_a_chosen_place(_key: str, _target: Target) -> Any:
    pointer = module("ctypes").c_void_p
    address = libc().mmap(None, 2 * BLOCK, 3, 0x22, -1, 0)
    return worked(call("mremap", pointer(address), PAGE, PAGE, 1 | 2, pointer(address + BLOCK)) > 0)  # MREMAP_FIXED


@payload(MEMORY)
def advise_the_kernel_to_share_or_swap(_key: str, _target: Target) -> Any:
    address = libc().mmap(None, BLOCK, 3, 0x22, -1, 0)
    advice = (
        12,
        14,
        20,
        21,
        22,
        23,
        25,
        102,
    )  # MERGEABLE, HUGEPAGE, COLD, PAGEOUT, POPULATE_*, COLLAPSE, GUARD_INSTALL
    return worked(0 in [call("madvise", module("ctypes").c_void_p(address), BLOCK, number) for number in advice])


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
