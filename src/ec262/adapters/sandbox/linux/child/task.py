"""One task in a child: read it, compute it, answer. All but the first steps of it run locked in."""

from __future__ import annotations

import mmap
import os
import signal
from typing import NoReturn

from ec262.adapters.sandbox.linux.child import frames, refusals
from ec262.adapters.sandbox.linux.child.lockdown import STREAM, Confinement, lock_down
from ec262.adapters.sandbox.log import Log, printing_to
from ec262.adapters.sandbox.note import NOTE_BYTES, note_in
from ec262.adapters.sandbox.runner import Run

_CHUNK_BYTES = 1 << 20
RESERVE_BYTES = 4 << 20
"""Freed when memory has run out, to have room to say so."""


class Child:
    """The child's side of the conversation. Made in the zygote: what is done there need not be done after each fork."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._answered = True
        self._reserve = mmap.mmap(-1, RESERVE_BYTES, mmap.MAP_PRIVATE)  # address space, never touched
        # They tell what a task was at. A child that does not get to it is killed.
        signal.signal(signal.SIGPROF, lambda _number, _frame: self._tell(frames.CPU))
        signal.signal(signal.SIGALRM, lambda _number, _frame: self._tell(frames.WALL))

    def serve(self, confinement: Confinement) -> NoReturn:
        """Lock this process in, serve one task, and end."""
        self._answered = False
        shared = memoryview(mmap.mmap(confinement.log, 0))
        signal.setitimer(signal.ITIMER_PROF, confinement.cpu_s)
        try:
            try:
                lock_down(confinement)
                refusals.announce()
            except (OSError, ValueError) as error:
                self._answer(frames.OPEN, str(error))
                os._exit(1)
            self._compute(shared)
        except (BrokenPipeError, EOFError):  # nobody waits for an answer
            os._exit(1)
        os._exit(0)

    def _compute(self, shared: memoryview) -> None:
        try:
            task = frames.TASK.unpack(_read(frames.TASK.size))
            is_reduce, seed, digits, log_bytes, functions_bytes, rows_bytes = task
            log = Log(log_bytes, copy=shared[NOTE_BYTES:])
            functions, rows = _read(functions_bytes), _read(rows_bytes)
            phase, note = "reduce" if is_reduce else "map", note_in(shared[:NOTE_BYTES])
            self._run = Run(phase=phase, seed=seed, log=log, round_floats=digits, note=note)
            with printing_to(log):
                outcome = self._run.compute(functions, rows)
            content = log.content()
        except MemoryError:
            self._reserve.close()
            self._answer(frames.MEMORY, self._where())
        else:
            self._answered = True
            _write(frames.ANSWER.pack(frames.RESULT, len(outcome), len(content)))
            _write(outcome)
            _write(content)

    def _tell(self, limit: bytes) -> None:
        if not self._answered:
            self._answer(limit, self._where())
            os._exit(0)

    def _where(self) -> str:
        try:
            return self._run.where if self._run is not None else "while the task was read"
        except MemoryError:  # a key too large to be told
            return ""

    def _answer(self, kind: bytes, text: str) -> None:
        self._answered = True
        data = text.encode(errors="backslashreplace")[: frames.MAX_TEXT_BYTES]
        _write(frames.ANSWER.pack(kind, len(data), 0) + data)


def _read(size: int) -> bytes:
    """Read exactly ``size`` bytes. Raises EOFError."""
    chunks = []
    while size:
        chunk = os.read(STREAM, min(size, _CHUNK_BYTES))
        if not chunk:
            raise EOFError
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(STREAM, view) :]
