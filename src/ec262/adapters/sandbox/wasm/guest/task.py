"""The guest's side: get everything loaded, be frozen, and serve one task each time one is thawed.

``get_ready`` ends the interpreter in the middle of a call; the host keeps the memory that it leaves, and calls
``serve`` in copies of it.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

import cloudpickle

from ec262.adapters.sandbox.log import Log, printing_to
from ec262.adapters.sandbox.note import NOTE_BYTES, note_in
from ec262.adapters.sandbox.runner import Run
from ec262.adapters.sandbox.wasm.guest import guest_frames, witness

_LOADED = (
    "bisect calendar cmath collections contextlib copy csv dataclasses datetime decimal difflib enum fractions "
    "functools hashlib heapq hmac io itertools json math numbers operator random re statistics string struct textwrap "
    "time typing unicodedata uuid zlib"
)
"""What many jobs want: loaded once, for all of them."""

_OURS = ("attr", "attrs")
"""What this code needs, and jobs may import only where the volunteer allows it."""

_READ_BYTES = 1 << 20
_RESERVE_BYTES = 1 << 20
"""Freed when memory has run out, to have room to say so."""

_NO_ARGUMENTS = ()


class _Refusal:
    """The last finder that an import asks: says that it is the sandbox that lacks a module."""

    def __init__(self, packages: Sequence[str]) -> None:
        allowed = f" and what this worker allows: {', '.join(packages)}" if packages else ""
        self._rule = f"jobs may import the standard library{allowed}; nothing that needs compiled extensions"

    def find_spec(self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None) -> ModuleSpec:
        """Raise ModuleNotFoundError."""
        raise ModuleNotFoundError(
            f"module {name!r} is not available in the sandbox (rule: imports; {self._rule})", name=name
        )


def get_ready(packages: Sequence[str]) -> NoReturn:
    """Load what jobs may want, tell the host where to call in, and end; with exit status 1, and having said which
    package it was, if one cannot be imported."""
    for name in _LOADED.split():
        importlib.import_module(name)
    for name in packages:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a package may raise anything
            os.write(2, f"the allowed package {name!r} cannot be imported: {error}".encode(errors="replace"))
            os._exit(1)
    for name in list(sys.modules):
        if name.partition(".")[0] in _OURS and name.partition(".")[0] not in packages:
            del sys.modules[name]
    _warm_up()
    if not packages:
        sys.path.remove(os.environ["PYTHONPATH"])
    sys.meta_path.append(_Refusal(packages))
    sys.path_importer_cache.clear()
    # A job's own __main__ travels by value; what is named so here is none of its business.
    sys.modules["__main__"] = ModuleType("__main__")
    sys.argv[:] = [""]
    for name in ("PYTHONPATH", "PYTHONHOME"):
        os.environ.pop(name, None)
    gc.collect()
    gc.freeze()
    place, size = _place.buffer_info()
    os.write(1, guest_frames.WAITING.pack(id(serve), id(_NO_ARGUMENTS), place, size))
    os._exit(0)


def serve() -> None:
    """Read one task, compute it, answer, and end."""
    global _reserve  # noqa: PLW0603 - there is one task in all of the interpreter's life
    try:
        (size,) = guest_frames.TASK.unpack(_read(guest_frames.TASK.size))
        about = json.loads(_read(size))
        functions, rows = _read(about["functions"]), _read(about["rows"])
        copy = _notes[NOTE_BYTES:] if about["log_bytes"] <= guest_frames.LOG_BYTES else None
        log = Log(about["log_bytes"], copy=copy)
        note = note_in(_notes[:NOTE_BYTES])
        run = Run(phase=about["phase"], seed=about["seed"], log=log, round_floats=about["round_floats"], note=note)
        with printing_to(log):
            outcome = run.compute(functions, rows)
        content = log.content()
    except MemoryError:
        _reserve = b""
        _answer(guest_frames.MEMORY)
    else:
        _answer(guest_frames.RESULT, outcome, content)
    finally:
        os._exit(0)


def _answer(kind: bytes, first: bytes = b"", second: bytes = b"") -> None:
    for part in (guest_frames.ANSWER.pack(kind, len(first), len(second)), first, second):
        _write(part)


def _read(size: int) -> bytes:
    chunks = []
    while size:
        chunk = os.read(0, min(size, _READ_BYTES))
        if not chunk:
            raise EOFError
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _warm_up() -> None:
    """Have everything done once that loads something at its first use."""
    rows = b'[["a",1]]'
    for function in (witness.double, witness.fail):
        Run(phase="map", seed=0, log=Log(0)).compute(cloudpickle.dumps({"mapper": function}), rows)


_reserve = bytes(_RESERVE_BYTES)
_place = array.array("B", bytes(NOTE_BYTES + guest_frames.LOG_BYTES))
_notes = memoryview(_place)
