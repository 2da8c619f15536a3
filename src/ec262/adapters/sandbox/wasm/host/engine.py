"""The WebAssembly engine with one guest in it: make its image once, run a task in a copy of the image.

An image is the memory of an interpreter that has loaded all it needs, and stopped in the middle of a call to ``_exit``.
The guest's module exports nothing to go on with, so a copy is woken by the same means that Python itself has to call an
object: the function that its type names in ``tp_call``.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import wasmtime

from ec262.adapters.sandbox.wasm.guest import guest_frames
from ec262.adapters.sandbox.wasm.host.image import STACK, TABLE, Image, Places
from ec262.adapters.sandbox.wasm.host.system import FAULT, PERM, Exited, GuestSystem

FUEL_PER_S = 5_000_000_000
"""Fuel counts the instructions that a guest executes; so much of it is a second of processor time."""

_CALL_FUEL = 200_000
"""What a call to the system costs a guest: it keeps the host busy for about as long."""

_START_S = 100.0
_STACK_BYTES = 2 << 20
"""The engine takes no more."""

THREAD_STACK_BYTES = 16 << 20
"""For the thread that runs a guest: the guest's stack, and room for what it calls."""

_TYPE, _TP_CALL = 4, 64
"""Where an object keeps its type, and a type its ``tp_call``: CPython 3.11 to 3.13 on 32 bits."""

_MAX_FUEL = (1 << 63) - 1
_MAX_MEMORY_BYTES = 1 << 32


def make_engine() -> wasmtime.Engine:
    """Return the engine; modules are only good for one with the same settings."""
    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True  # the bits of a NaN are the only ones that processors may choose
    config.max_wasm_stack = _STACK_BYTES
    config.wasm_threads = False
    return wasmtime.Engine(config)


class OutOfFuel(Exception):
    """The guest has used all the processor time that it may."""


class GuestEnded(Exception):
    """The guest ended by itself; the text says how."""


class RunningGuest:
    """One guest in its engine. It runs nothing but by ``start`` or ``serve``."""

    def __init__(
        self,
        module: Path,
        *,
        files: Mapping[str, memoryview],
        environment: Mapping[str, str],
        arguments: tuple[str, ...],
        on_output: Callable[[bytes], None],
    ) -> None:
        """``module`` is a precompiled file. Raises wasmtime.WasmtimeError if it is not for this engine."""
        engine = make_engine()
        self._store = wasmtime.Store(engine)
        self._given = self._set_fuel(_START_S)
        self.system = GuestSystem(
            self,
            files=files,
            environment=environment,
            arguments=arguments,
            worked_ns=self._worked_ns,
            on_output=on_output,
        )
        precompiled = wasmtime.Module.deserialize_file(engine, str(module))
        linker = wasmtime.Linker(engine)
        for wanted in precompiled.imports:
            kind = cast("wasmtime.FuncType", wanted.type)
            act = getattr(self.system, wanted.name or "", None)
            linker.define_func(wanted.module, wanted.name or "", kind, self._as_call(act, kind))
        exports = linker.instantiate(self._store, precompiled).exports(self._store)
        self._start = cast("wasmtime.Func", exports["_start"])
        self._memory = cast("wasmtime.Memory", exports["memory"])
        self._stack = cast("wasmtime.Global", exports[STACK])
        self._table = cast("wasmtime.Table", exports[TABLE])

    def start(self) -> None:
        """Run the guest's interpreter from its beginning to its end. Raises GuestEnded, OutOfFuel."""
        self._run(lambda: self._start(self._store))

    def image(self, waiting: bytes, files: Mapping[str, memoryview]) -> Image:
        """Return what is left of a guest that has ended, having told where it waits; its copies can read ``files``."""
        memory = memoryview(self.read(0, self._memory.data_len(self._store)))
        places = Places(self._stack.value(self._store), *guest_frames.WAITING.unpack(waiting))
        return Image(places, memory=memory, files=files)

    def become(self, image: Image) -> None:
        """Turn this guest, which has not been started, into one that waits for a task."""
        missing = len(image.memory) - self._memory.data_len(self._store)
        self._memory.grow(self._store, missing >> 16)
        size = len(image.memory)
        ctypes.memmove(self.address(), ctypes.addressof((ctypes.c_char * size).from_buffer(image.memory)), size)
        self._stack.set_value(self._store, wasmtime.Val.i32(image.places.stack))

    def visit(self, image: Image) -> None:
        """Enter the guest and come back before it does anything: what the engine sets up for a thread is there then."""
        with contextlib.suppress(OutOfFuel):
            self._call(image, cpu_s=0)

    def serve(self, image: Image, task: bytes, *, cpu_s: float, memory_bytes: int) -> None:
        """Run a task. ``memory_bytes`` are beyond what the image has. Raises GuestEnded, OutOfFuel."""
        self._store.set_limits(memory_size=min(len(image.memory) + memory_bytes, _MAX_MEMORY_BYTES))
        self.system.give(task, salt=hashlib.sha256(task).digest())
        self._call(image, cpu_s=cpu_s)

    def _call(self, image: Image, *, cpu_s: float) -> None:
        self._given = self._set_fuel(cpu_s)
        kind = self.number(image.places.serve + _TYPE)
        call = cast("wasmtime.Func", self._table.get(self._store, self.number(kind + _TP_CALL)))
        self._run(lambda: call(self._store, image.places.serve, image.places.no_arguments, 0))

    def address(self) -> int:
        """Return where this process has the guest's memory."""
        return ctypes.addressof(self._memory.data_ptr(self._store).contents)

    def read(self, start: int, size: int) -> bytes:
        """Return a copy of a part of the guest's memory. Raises IndexError for what is not all within."""
        self._check(start, size)
        return ctypes.string_at(self.address() + start, size)

    def write(self, start: int, data: bytes) -> None:
        """Put data into the guest's memory. Raises IndexError for what is not all within."""
        self._check(start, len(data))
        ctypes.memmove(self.address() + start, data, len(data))

    def _check(self, start: int, size: int) -> None:
        if not 0 <= start <= start + size <= self._memory.data_len(self._store):
            raise IndexError("outside of the guest's memory")

    def number(self, place: int) -> int:
        """Return the 32-bit number at a place in the guest's memory."""
        return int.from_bytes(self.read(place, 4), "little")

    def _run(self, enter: Callable[[], object]) -> None:
        try:
            enter()
        except Exited as end:
            if end.status:
                raise GuestEnded(f"it ended its process, with exit status {end.status}") from end
        except wasmtime.Trap as trap:
            if trap.trap_code is wasmtime.TrapCode.OUT_OF_FUEL:
                raise OutOfFuel from trap
            raise GuestEnded(f"it crashed ({_reason(trap)})") from trap
        except wasmtime.WasmtimeError as error:
            raise GuestEnded(f"it crashed ({error})") from error

    def _as_call(self, act: Callable[..., int | None] | None, kind: wasmtime.FuncType) -> Callable[..., int | None]:
        """Make what the engine calls of one of the system's calls: numbers become unsigned, and each costs fuel."""
        masks = [(1 << 64) - 1 if str(number) == "i64" else (1 << 32) - 1 for number in kind.params]

        def call(*numbers: int) -> int | None:
            fuel = self._store.get_fuel()
            self._store.set_fuel(max(0, fuel - _CALL_FUEL))
            if act is None:
                return PERM
            try:
                return act(*(number & mask for number, mask in zip(numbers, masks, strict=True)))
            except (ArithmeticError, IndexError, ValueError, struct.error):
                return FAULT

        return call

    def _set_fuel(self, seconds: float) -> int:
        fuel = int(min(seconds * FUEL_PER_S, _MAX_FUEL))
        self._store.set_fuel(fuel)
        return fuel

    def _worked_ns(self) -> int:
        return (self._given - self._store.get_fuel()) * 10**9 // FUEL_PER_S


def _reason(trap: wasmtime.Trap) -> str:
    return str(trap.trap_code.name).lower().replace("_", " ") if trap.trap_code else str(trap)
