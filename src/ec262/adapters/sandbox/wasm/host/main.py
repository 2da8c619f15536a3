"""What a process with an engine does: precompile a module, make an image, or serve a task."""

from __future__ import annotations

import ctypes
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import wasmtime

from ec262.adapters.sandbox.wasm.guest import guest_frames
from ec262.adapters.sandbox.wasm.host import image
from ec262.adapters.sandbox.wasm.host.confinement import confine, filter_system_calls, limit
from ec262.adapters.sandbox.wasm.host.engine import THREAD_STACK_BYTES, GuestEnded, OutOfFuel, RunningGuest, make_engine

_INPUT, _OUTPUT = 0, 1
_READ_BYTES = 1 << 20


def precompile(order: Mapping[str, Any]) -> None:
    """Compile ``wasm`` to ``module``, both paths."""
    source = image.with_exports(Path(order["wasm"]).read_bytes())
    Path(order["module"]).write_bytes(wasmtime.Module(make_engine(), source).serialize())


def freeze(order: Mapping[str, Any]) -> None:
    """Run ``module`` with ``files`` (the guest's path to ours) until it waits for a task, and keep it as ``image``."""
    files = {name: memoryview(Path(path).read_bytes()) for name, path in order["files"].items()}
    said = bytearray()
    guest = RunningGuest(
        Path(order["module"]),
        files=files,
        environment=order["environment"],
        arguments=tuple(order["arguments"]),
        on_output=said.extend,
    )
    problems: list[Exception] = []

    def start() -> None:
        try:
            guest.start()
        except (OutOfFuel, GuestEnded) as error:
            problems.append(error)

    _in_a_thread(start).join()
    if problems:
        told = guest.system.errors.decode(errors="replace").strip()
        sys.stderr.write(told or f"the guest did not start: {problems[0]!r}")
        sys.exit(guest_frames.GUEST_REFUSED if told else 1)
    image.save(guest.image(bytes(said), files), Path(order["image"]))


def serve(order: Mapping[str, Any]) -> NoReturn:
    """Serve one task with a copy of ``image``, a guest of ``module``, and end; also when the worker is gone.

    ``worker`` is its process id, ``nice`` how much to give way to other processes, ``program`` what seccomp is given,
    in hex.
    """
    host = Host(Path(order["module"]), image.load(Path(order["image"])))
    confine(order["worker"], nice=order["nice"])
    host.serve(bytes.fromhex(order["program"]))


class Host:
    """Between the worker's pipes and one guest. It answers once, and that ends the process."""

    def __init__(self, module: Path, frozen: image.Image) -> None:
        self._image = frozen
        self._guest = RunningGuest(module, files=frozen.files, environment={}, arguments=(), on_output=self._on_output)
        self._guest.become(frozen)
        self._memory = self._guest.address()
        self._about: dict[str, Any] = {}
        self._said = bytearray()
        self._answering = threading.Lock()

    def serve(self, program: bytes) -> NoReturn:
        """Wait for the task, have it run, and watch the worker. Both threads are under the seccomp program."""
        task: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        confined = threading.Event()

        def run() -> None:
            try:
                self._guest.visit(self._image)
                filter_system_calls(program)
            except (OSError, GuestEnded) as error:
                sys.stderr.write(str(error))
                sys.stderr.flush()
                os._exit(1)
            confined.set()
            self._run(task.get())

        _in_a_thread(run)
        confined.wait()
        limit()
        filter_system_calls(program)
        _write(guest_frames.READY)
        try:
            self._about = json.loads(_read(*guest_frames.TASK.unpack(_read(guest_frames.TASK.size))))
            guest = self._about["guest"]
            text = json.dumps(guest).encode()
            task.put(guest_frames.TASK.pack(len(text)) + text + _read(guest["functions"] + guest["rows"]))
            if _read(len(guest_frames.LAST_WORDS)) == guest_frames.LAST_WORDS:
                self._tell(guest_frames.WALL)
        finally:  # the worker is gone, or has heard all there is to hear
            os._exit(0)

    def _run(self, task: bytes) -> None:
        try:
            memory_bytes, cpu_s = self._about["memory_bytes"], self._about["cpu_s"]
            self._guest.serve(self._image, task, cpu_s=cpu_s, memory_bytes=memory_bytes)
        except OutOfFuel:
            self._tell(guest_frames.CPU)
        except GuestEnded as error:
            errors = self._guest.system.errors.decode(errors="replace").strip()
            self._tell(guest_frames.ENDED, f"{error}{': ' if errors else ''}{errors}")
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would tell the worker
            self._tell(guest_frames.ENDED, f"it brought the sandbox into disorder ({error!r})")
        self._tell(guest_frames.ENDED, "it ended its process, with no result")

    def _on_output(self, data: bytes) -> None:
        """Take what the guest writes; an answer that is complete is the end."""
        self._said += data
        if len(self._said) < guest_frames.ANSWER.size:
            return
        kind, first, second = guest_frames.ANSWER.unpack_from(self._said)
        if kind == guest_frames.MEMORY:
            self._tell(guest_frames.MEMORY)
        if kind != guest_frames.RESULT or second > self._about["log_bytes"]:
            self._tell(
                guest_frames.ENDED,
                f"it broke the sandbox's protocol: {bytes(self._said[: guest_frames.ANSWER.size])!r}",
            )
        if first > self._about["output_bytes"]:
            self._send(guest_frames.ANSWER.pack(guest_frames.OUTPUT, first, 0))
        size = guest_frames.ANSWER.size + first + second
        if len(self._said) >= size:
            self._send(self._said[:size])

    def _tell(self, kind: bytes, text: str = "") -> NoReturn:
        """Say that there is no result, and what the guest has noted. It is in its hands: it may be anything."""
        data = text.encode(errors="replace")[: guest_frames.MAX_TEXT_BYTES]
        places = self._image.places
        notes = ctypes.string_at(self._memory + places.notes, places.notes_bytes).rstrip(b"\0")
        self._send(guest_frames.ANSWER.pack(kind, len(data), len(notes)), data, notes)

    def _send(self, *parts: bytes | bytearray) -> NoReturn:
        with self._answering:  # never let go: there is one answer
            try:
                for part in parts:
                    _write(part)
            finally:
                os._exit(0)


def _in_a_thread(act: Callable[[], object]) -> threading.Thread:
    """Run something where there is room for a guest's stack, which not every system gives to the main thread."""
    threading.stack_size(THREAD_STACK_BYTES)
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def _read(size: int) -> bytes:
    """Read exactly ``size`` bytes from the worker. Raises EOFError."""
    chunks = []
    while size:
        chunk = os.read(_INPUT, min(size, _READ_BYTES))
        if not chunk:
            raise EOFError
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _write(data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(_OUTPUT, view) :]


def main() -> None:
    """Do what the first argument orders. Errors are reported on standard error."""
    order = json.loads(sys.argv[1])
    try:
        {"precompile": precompile, "freeze": freeze, "serve": serve}[order["act"]](order)
    except (OSError, ValueError, wasmtime.WasmtimeError) as error:
        sys.exit(str(error))
