"""Jobs that mean harm to the portable sandbox in particular: its system, its conversation, its interpreter."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import Any

Target = dict[str, Any]

ATTACKS: dict[str, Callable[[str, Target], Any]] = {}

ANSWER_BYTES = 17
_STREAM = 1


def attack(act: Callable[[str, Target], Any]) -> Callable[[str, Target], Any]:
    ATTACKS[act.__name__] = act
    return act


def _frame(kind: bytes, first: int, second: int = 0) -> bytes:
    return kind + first.to_bytes(8, "big") + second.to_bytes(8, "big")


def _tried(acts: dict[str, Callable[[], Any]]) -> list[tuple[str, str]]:
    found = []
    for name, act in acts.items():
        try:
            found.append((name, str(act())))
        except Exception as error:  # noqa: BLE001 - all that it can be is told
            found.append((name, str(error)))
    return found


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _read_from(number: int, path: str) -> bytes:
    return os.read(os.open(path, os.O_RDONLY, dir_fd=number), 100)


@attack
def walk_out_by_every_path(_key: str, target: Target) -> Any:
    secret = target["secret_file"]
    paths = [secret, "/" + secret, "." + secret, "/../.." + secret, "/usr/local/../.." + secret, secret + "/.", "\0"]
    acts: dict[str, Callable[[], Any]] = {path: partial(_read, path) for path in paths}
    for number in range(6):
        for name in (secret, secret.lstrip("/"), "." + secret):
            acts[f"{number} {name}"] = partial(_read_from, number, name)
    return _tried(acts)


@attack
def list_and_follow_what_there_is(_key: str, target: Target) -> Any:
    return _tried(
        {
            "list": lambda: os.listdir("/"),
            "scan": lambda: list(os.scandir("/usr")),
            "link": lambda: os.symlink(target["secret_file"], "/usr/link"),
            "hard link": lambda: os.link(target["secret_file"], "/usr/link"),
            "read the link": lambda: os.readlink("/usr/link"),
            "rename": lambda: os.rename(target["secret_file"], "/usr/secret"),
            "/proc": partial(_read, "/proc/self/environ"),
            "/dev": partial(_read, "/dev/fd/3"),
        }
    )


@attack
def change_the_library_that_the_next_job_gets(_key: str, _target: Target) -> Any:
    library = next(path for path in sys.path if path.startswith("/usr"))
    return _tried(
        {
            "write": lambda: open(library, "r+b").write(b"x"),
            "new": lambda: open("/usr/local/lib/new.py", "w").write("x"),
            "truncate": lambda: os.truncate(library, 0),
            "remove": lambda: os.unlink(library),
            "touch": lambda: os.utime(library),
        }
    )


@attack
def open_files_for_ever(_key: str, _target: Target) -> Any:
    held = []
    while True:
        held.append(os.open("/usr/local/lib", os.O_RDONLY))


@attack
def ask_the_clock_for_ever(_key: str, _target: Target) -> Any:
    import time

    while True:
        time.time()


@attack
def sleep_longer_than_the_clock_can_tell(_key: str, _target: Target) -> Any:
    import time

    for _ in range(10):
        time.sleep(9e9)
    return [("now", str(time.time()))]


@attack
def draw_randomness_for_ever(_key: str, _target: Target) -> Any:
    while True:
        os.urandom(1 << 20)


@attack
def announce_an_endless_result(_key: str, _target: Target) -> Any:
    os.write(_STREAM, _frame(b"R", (1 << 64) - 1, 0))


@attack
def announce_a_huge_log(_key: str, _target: Target) -> Any:
    os.write(_STREAM, _frame(b"R", 0, (1 << 64) - 1))


@attack
def announce_a_result_and_never_send_it(_key: str, _target: Target) -> Any:
    os.write(_STREAM, _frame(b"R", 1000))
    while True:
        pass


@attack
def answer_in_single_bytes_and_go_on(_key: str, _target: Target) -> Any:
    for byte in _frame(b"R", 2) + b"[]" + b"more":
        os.write(_STREAM, bytes([byte]))
    while True:
        os.write(_STREAM, b"x" * 100_000)


@attack
def claim_each_limit(_key: str, _target: Target) -> Any:
    os.write(_STREAM, _frame(b"C", 4) + b"lies")


@attack
def claim_a_memory_limit_with_a_terminals_commands(_key: str, _target: Target) -> Any:
    text = b"\x1b[2J\x07" + b"x" * 100_000
    os.write(_STREAM, _frame(b"M", len(text)) + text)


@attack
def answer_with_a_pickle(_key: str, target: Target) -> Any:
    bomb = b"cos\nsystem\n(S': > " + target["write_dir"].encode() + b"/ran'\ntR."
    os.write(_STREAM, _frame(b"R", len(bomb)) + bomb)


@attack
def flood_the_errors(_key: str, _target: Target) -> Any:
    for _ in range(100):
        os.write(2, b"\x1b[2J" * (1 << 18))
    os._exit(3)


@attack
def read_on_after_the_task(_key: str, _target: Target) -> Any:
    return [("got", os.read(0, 1 << 20))]


@attack
def note_a_terminals_commands_and_spin(_key: str, _target: Target) -> Any:
    notes = _module("ec262.adapters.sandbox.wasm.guest.task")._notes
    for place in range(len(notes)):
        notes[place] = 0x1B
    while True:
        pass


@attack
def note_more_than_there_is_and_spin(_key: str, _target: Target) -> Any:
    notes = _module("ec262.adapters.sandbox.wasm.guest.task")._notes
    notes[:] = b"\xff" * len(notes)
    while True:
        pass


@attack
def overflow_a_block_of_memory(_key: str, _target: Target) -> Any:
    _module("_testcapi").pymem_buffer_overflow()


@attack
def jump_to_nowhere(_key: str, _target: Target) -> Any:
    _module("faulthandler")._sigsegv()
    _module("faulthandler")._read_null()


@attack
def overflow_the_stack(_key: str, _target: Target) -> Any:
    _module("faulthandler")._stack_overflow()


@attack
def run_forged_bytecode(_key: str, _target: Target) -> Any:
    def function() -> int:
        return 1

    for filler in range(0, 256, 5):
        code: CodeType = function.__code__
        function.__code__ = code.replace(co_code=bytes([100, filler, 83, 0]) * 8, co_consts=())
        try:
            repr(function())
        except Exception:  # noqa: BLE001 - it is the crash that is tried
            continue


@attack
def recurse_in_the_encoder(_key: str, _target: Target) -> Any:
    sys.setrecursionlimit(10**9)
    nested: Any = []
    for _ in range(10**5):
        nested = {"x": [nested]}
    return [("deep", nested)]


@attack
def unpickle_itself_to_death(_key: str, _target: Target) -> Any:
    import pickle

    return [("got", pickle.loads(b"(" * 10**6 + b"t" * 10**6 + b"."))]


def _module(name: str) -> Any:
    return importlib.import_module(name)
