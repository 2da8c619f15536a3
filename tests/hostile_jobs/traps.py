"""Jobs that go for the sandbox itself: its conversation, its runner, the next task; and crashes."""

from __future__ import annotations

import builtins
import gc
import io
import os
import sys
import time
from typing import Any

from tests.hostile_jobs.reach import Target, libc, module, payload

CRASH, FORGE, PATCH, STATE, TRICKS = (
    "crashes",
    "forged frames",
    "a changed runner",
    "state left behind",
    "tricks in results and exceptions",
)
NO_STREAM = "there is no stream to the worker"


@payload(CRASH)
def exit_at_once(_key: str, _target: Target) -> Any:
    os._exit(0)


@payload(CRASH)
def crash_by_null_pointer(_key: str, _target: Target) -> Any:
    module("ctypes").string_at(0)


@payload(CRASH)
def abort(_key: str, _target: Target) -> Any:
    os.abort()


@payload(CRASH)
def free_twice(_key: str, _target: Target) -> Any:
    ctypes = module("ctypes")
    libc().malloc.restype = ctypes.c_void_p
    block = ctypes.c_void_p(libc().malloc(1 << 20))
    libc().free(ctypes.c_void_p(8))
    libc().free(block)


@payload(CRASH)
def crash_by_a_forged_object(_key: str, _target: Target) -> Any:
    return [("got", str(module("ctypes").cast(1, module("ctypes").py_object).value))]


# --- the conversation -------------------------------------------------------------------------------------------------


@payload(FORGE, never=NO_STREAM)
def close_its_stream_and_go_on(_key: str, _target: Target) -> Any:
    os.close(3)
    while True:
        time.sleep(1)


@payload(FORGE, never=NO_STREAM)
def close_everything(_key: str, _target: Target) -> Any:
    os.closerange(0, 100)


@payload(FORGE, never=NO_STREAM)
def announce_an_endless_result(_key: str, _target: Target) -> Any:
    os.write(3, b"R" + b"\xff" * 16)


@payload(FORGE, never=NO_STREAM)
def announce_a_huge_log(_key: str, _target: Target) -> Any:
    os.write(3, b"R" + bytes(8) + b"\xff" * 8)


@payload(FORGE, never=NO_STREAM)
def announce_a_result_and_be_silent(_key: str, _target: Target) -> Any:
    os.write(3, b"R" + (1000).to_bytes(8, "big") + bytes(8))
    time.sleep(60)


@payload(FORGE, never=NO_STREAM)
def send_part_of_an_answer(_key: str, _target: Target) -> Any:
    os.write(3, b"R\0\0")
    time.sleep(60)


@payload(FORGE, never=NO_STREAM)
def send_an_answer_of_no_kind(_key: str, _target: Target) -> Any:
    os.write(3, b"?" + bytes(16))


@payload(FORGE, never=NO_STREAM)
def claim_a_limit_with_a_terminals_commands(_key: str, _target: Target) -> Any:
    text = b"\x1b[2J\x07" + b"x" * 100_000
    os.write(3, b"M" + len(text).to_bytes(8, "big") + bytes(8) + text)


@payload(FORGE, never=NO_STREAM)
def claim_that_it_could_not_be_locked_in(_key: str, _target: Target) -> Any:
    os.write(3, b"O" + bytes(16))


@payload(FORGE, never=NO_STREAM)
def flood_its_stream(_key: str, _target: Target) -> Any:
    while True:
        os.write(3, b"R" + bytes(16) + b"x" * 100_000)


@payload(FORGE, never=NO_STREAM)
def answer_with_a_pickle(_key: str, target: Target) -> Any:
    bomb = b"cos\nsystem\n(S': > " + target["write_dir"].encode() + b"/ran'\ntR."
    os.write(3, b"R" + len(bomb).to_bytes(8, "big") + bytes(8) + bomb)


@payload(FORGE, never=NO_STREAM)
def answer_with_json_that_bites(_key: str, _target: Target) -> Any:
    text = b'["pairs",' + b"[" * 100_000 + b"1e999" + b"]" * 100_000 + b"]"
    os.write(3, b"R" + len(text).to_bytes(8, "big") + bytes(8) + text)


@payload(FORGE, never=NO_STREAM)
def write_nonsense_where_prints_go(_key: str, _target: Target) -> Any:
    print("\x1b[2J" + "\0" * 100 + "\udcff" * 10)
    sys.stdout.flush()
    os._exit(3)


@payload(FORGE, never=NO_STREAM)
def reopen_standard_output(_key: str, _target: Target) -> Any:
    stream = io.FileIO(3, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(stream), write_through=True)
    print("R" + "\xff" * 16)


# --- the runner, and the next task ------------------------------------------------------------------------------------


@payload(PATCH)
def replace_the_runners_parts(_key: str, _target: Target) -> Any:
    runner: Any = sys.modules["ec262.adapters.sandbox.runner"]
    runner.encode_outcome = lambda *_: b"forged"
    builtins.len = lambda *_: 0
    return []


@payload(PATCH)
def replace_how_it_is_told(_key: str, _target: Target) -> Any:
    report: Any = sys.modules["ec262.adapters.sandbox.report"]
    report.failure = report.traceback_text = lambda *_, **__: os._exit(9)
    raise ValueError


@payload(PATCH, never="it spoils no result but its own")
def change_its_callers_variables(_key: str, _target: Target) -> Any:
    frame: Any = sys._getframe()
    while frame is not None:
        for name in ("pairs", "rows", "ends"):
            if isinstance(frame.f_locals.get(name), list):
                frame.f_locals[name].clear()
                frame.f_locals[name].append(None)
        frame = frame.f_back
    return [("x", 1)]


@payload(STATE)
def leave_traps_for_the_next_task(_key: str, _target: Target) -> Any:
    canonical: Any = sys.modules["ec262.domain.values.canonical"]
    canonical.encode = canonical.decode = canonical.encode_each = None
    builtins.sorted = builtins.print = None  # type: ignore[assignment]  # an attack
    sys.modules.clear()
    gc.disable()
    sys.setrecursionlimit(50)
    os.environ.clear()


@payload(STATE)
def leave_a_spy_for_the_next_task(_key: str, _target: Target) -> Any:
    def spy(*_: Any) -> None:
        os._exit(11)

    sys.setprofile(spy)
    sys.settrace(spy)


@payload(STATE)
def leave_a_wrong_answer_for_the_next_task(_key: str, _target: Target) -> Any:
    runner: Any = sys.modules["ec262.adapters.sandbox.runner"]
    runner.canonical.encode_each = lambda keys: [b'"forged"' for _ in keys]
    runner._gather = lambda _function, _row, _name, pairs: pairs.append(("forged", 1))


# --- tricks in what it gives back -------------------------------------------------------------------------------------


@payload(TRICKS)
def trap_whoever_looks_at_the_result(_key: str, _target: Target) -> Any:
    class Trap(str):
        def __eq__(self, _other: object) -> bool:
            raise SystemExit

        def __hash__(self) -> int:
            raise SystemExit

        def __del__(self) -> None:
            os._exit(7)

    return [(Trap("x"), Trap("y"))]


@payload(TRICKS)
def trap_whoever_takes_the_result_apart(_key: str, _target: Target) -> Any:
    class Trap(tuple[Any, ...]):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, _index: Any) -> Any:
            os._exit(7)

    return [Trap(())]


@payload(TRICKS, never="nothing there unpickles the result")
def trap_whoever_unpickles_the_result(_key: str, target: Target) -> Any:
    class Trap:
        def __reduce__(self) -> Any:
            return os.system, (f": > {target['write_dir']}/ran",)

    return [("x", Trap())]


@payload(TRICKS)
def lie_about_its_class(_key: str, _target: Target) -> Any:
    class Liar:
        @property  # type: ignore[misc]  # an attack
        def __class__(self) -> type:
            os._exit(7)

    return [("x", Liar())]


class _Bomb(Exception):
    def __repr__(self) -> str:
        os._exit(8)

    __str__ = __repr__


@payload(TRICKS)
def raise_what_bites_the_traceback(_key: str, _target: Target) -> Any:
    error = _Bomb()
    error.__cause__ = error
    raise error


@payload(TRICKS)
def raise_what_names_itself_oddly(_key: str, _target: Target) -> Any:
    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            os._exit(8)

    odd: Any = Meta("\x1b[2J", (Exception,), {})
    raise odd


@payload(TRICKS, never="it is a failure there, too")
def raise_a_group_without_end(_key: str, _target: Target) -> Any:
    error: Exception = ValueError("0")
    for _ in range(5000):
        error = ExceptionGroup("x", [error])
    raise error


@payload(TRICKS)
def raise_when_it_is_freed(_key: str, _target: Target) -> Any:
    class Last:
        def __del__(self) -> None:
            os._exit(12)

    Last()
