"""Jobs that go for the sandbox itself: its limits, its conversation, the next task."""

from __future__ import annotations

import builtins
import contextlib
import gc
import io
import os
import sys
import time
from typing import Any

from tests.hostile_jobs.reach import Target, libc, module, payload


@payload
def exit_at_once(_key: str, _target: Target) -> Any:
    os._exit(0)


@payload
def crash_by_null_pointer(_key: str, _target: Target) -> Any:
    module("ctypes").string_at(0)


@payload
def abort(_key: str, _target: Target) -> Any:
    os.abort()


@payload
def close_its_stream_and_go_on(_key: str, _target: Target) -> Any:
    os.close(3)
    while True:
        time.sleep(1)


@payload
def close_everything(_key: str, _target: Target) -> Any:
    os.closerange(0, 100)


@payload
def announce_an_endless_result(_key: str, _target: Target) -> Any:
    os.write(3, b"R" + b"\xff" * 16)


@payload
def announce_a_huge_log(_key: str, _target: Target) -> Any:
    os.write(3, b"R" + bytes(8) + b"\xff" * 8)


@payload
def announce_a_result_and_be_silent(_key: str, _target: Target) -> Any:
    os.write(3, b"R" + (1000).to_bytes(8, "big") + bytes(8))
    time.sleep(60)


@payload
def send_part_of_an_answer(_key: str, _target: Target) -> Any:
    os.write(3, b"R\0\0")
    time.sleep(60)


@payload
def send_an_answer_of_no_kind(_key: str, _target: Target) -> Any:
    os.write(3, b"?" + bytes(16))


@payload
def claim_a_limit_with_a_terminals_commands(_key: str, _target: Target) -> Any:
    text = b"\x1b[2J\x07" + b"x" * 100_000
    os.write(3, b"M" + len(text).to_bytes(8, "big") + bytes(8) + text)


@payload
def flood_its_stream(_key: str, _target: Target) -> Any:
    while True:
        os.write(3, b"R" + bytes(16) + b"x" * 100_000)


@payload
def answer_with_a_pickle(_key: str, target: Target) -> Any:
    bomb = b"cos\nsystem\n(S'touch " + target["write_dir"].encode() + b"/ran'\ntR."
    os.write(3, b"R" + len(bomb).to_bytes(8, "big") + bytes(8) + bomb)


@payload
def replace_the_runners_parts(_key: str, _target: Target) -> Any:
    runner: Any = sys.modules["ec262.adapters.sandbox.runner"]
    runner.encode_outcome = lambda *_: b"forged"
    builtins.len = lambda *_: 0
    return []


@payload
def leave_traps_for_the_next_task(_key: str, _target: Target) -> Any:
    canonical: Any = sys.modules["ec262.domain.canonical"]
    canonical.encode = canonical.decode = canonical.encode_each = None
    builtins.sorted = builtins.print = None  # type: ignore[assignment]  # an attack
    sys.modules.clear()
    gc.disable()
    sys.setrecursionlimit(50)
    os.environ.clear()


@payload
def trap_whoever_looks_at_the_result(_key: str, _target: Target) -> Any:
    class Trap(str):
        def __eq__(self, _other: object) -> bool:
            raise SystemExit

        def __hash__(self) -> int:
            raise SystemExit

        def __del__(self) -> None:
            os._exit(7)

    return [(Trap("x"), Trap("y"))]


class _Bomb(Exception):
    def __repr__(self) -> str:
        os._exit(8)


@payload
def raise_what_bites_the_traceback(_key: str, _target: Target) -> Any:
    error = _Bomb()
    error.__cause__ = error
    raise error


@payload
def recurse_in_c(_key: str, _target: Target) -> Any:
    sys.setrecursionlimit(10**9)
    nested: Any = []
    for _ in range(10**6):
        nested = [nested]
    return [("got", repr(nested))]


@payload
def recurse_in_python(key: str, target: Target) -> Any:
    sys.setrecursionlimit(10**9)
    return recurse_in_python(key, target)


@payload
def return_what_is_deep(_key: str, _target: Target) -> Any:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    return [("deep", nested)]


@payload
def yield_for_ever(_key: str, _target: Target) -> Any:
    return ((number, "x" * 1000) for number in iter(int, 1))


@payload
def print_for_ever(_key: str, _target: Target) -> Any:
    while True:
        print("x" * 10_000)


@payload
def allocate_for_ever(_key: str, _target: Target) -> Any:
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


@payload
def allocate_at_once(_key: str, _target: Target) -> Any:
    return [("got", len(bytes(1 << 40)))]


@payload
def map_for_ever(_key: str, _target: Target) -> Any:
    library = libc()
    library.mmap.restype = module("ctypes").c_void_p
    addresses = [library.mmap(None, 1 << 24, 3, 0x22, -1, 0) for _ in range(200)]
    return [("got", sum(address not in (None, (1 << 64) - 1) for address in addresses) * 16)]


@payload
def catch_everything_and_sleep(_key: str, _target: Target) -> Any:
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


@payload
def reopen_standard_output(_key: str, _target: Target) -> Any:
    stream = io.FileIO(3, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(stream), write_through=True)
    print("R" + "\xff" * 16)
