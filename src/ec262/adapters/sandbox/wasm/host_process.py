"""The worker's side of a process that has an engine. The worker believes nothing that it says: sizes are checked before
a byte is read, there is a deadline for all of it, and what comes is bytes, never loaded here."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ec262.adapters.sandbox.note import NOTE_BYTES, read_note
from ec262.adapters.sandbox.wasm.guest import guest_frames
from ec262.adapters.sandbox.wasm.guests import NOT_INSTALLED
from ec262.domain.errors import SandboxBroken, SandboxCrashed, SandboxError, SandboxLimitExceeded, SandboxUnavailable
from ec262.domain.terminal import printable
from ec262.domain.work.work import Computed, Limits, Work

_BOOT = Path(__file__).parent / "host" / "boot.py"
_TO_START = ("LD_LIBRARY_PATH", "SYSTEMROOT")
"""What some systems need to start an interpreter at all; a guest sees nothing of it."""

_LAST_WORDS_S = 1.0
_EXIT_S = 1.0
_MAX_STDERR_BYTES = 4000
_LAST_PRINT_BYTES = 300


class GuestRefused(SandboxUnavailable):
    """The guest itself says why it cannot be prepared: there is nothing wrong with its files."""


class HostProcess:
    """A process with an engine and one guest in it, for one task."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stdin is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101 - likewise
        self._input, self._output = process.stdin, process.stdout
        self._ends = False
        """Whether it has answered, and so ends by itself."""

    @classmethod
    async def start(cls, module: Path, image: Path, *, nice: int, program: bytes) -> HostProcess:
        """Start one that serves a task with a guest; it is not ready yet. ``program`` is for seccomp, where there is
        one. Raises SandboxBroken."""
        order = {
            "act": "serve",
            "module": str(module),
            "image": str(image),
            "worker": os.getpid(),
            "nice": nice,
            "program": program.hex(),
        }
        try:
            return cls(await _spawn(order))
        except OSError as error:
            raise SandboxBroken(f"no process could be started for the task: {error}") from error

    @property
    def alive(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._process.returncode is None

    async def ready(self) -> None:
        """Wait until it can take a task. Raises SandboxBroken."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            if await self._output.readexactly(len(guest_frames.READY)) == guest_frames.READY:
                return
        raise SandboxBroken(f"the sandbox's process did not start: {await self._complaint()}")

    async def compute(self, work: Work, limits: Limits) -> Computed:
        """Send the work, return the answer. Takes for ever if the guest wants it so: set a deadline.

        Raises SandboxLimitExceeded, SandboxCrashed.
        """
        with contextlib.suppress(ConnectionError):  # one that has ended may have said why: that is read next
            self._input.write(_task(work, limits))
            await self._input.drain()
        try:
            kind, first, second = guest_frames.ANSWER.unpack(await self._output.readexactly(guest_frames.ANSWER.size))
            if kind == guest_frames.RESULT:
                return await self._result(first, second, limits)
            self._ends = True
            if kind == guest_frames.OUTPUT:
                told = f"a result of {first} bytes where {limits.output_bytes} are allowed"
                raise SandboxLimitExceeded("output", told)
            raise _refusal(kind, *await self._text_and_notes(first, second), limits)
        except asyncio.IncompleteReadError as error:
            self._ends = True
            raise SandboxCrashed(f"the sandbox's process ended: {await self._complaint()}") from error

    async def last_words(self) -> str:
        """Ask what the task is at; return " " and what it has noted, or nothing."""
        with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_LAST_WORDS_S):
                self._input.write(guest_frames.LAST_WORDS)
                kind, first, second = guest_frames.ANSWER.unpack(
                    await self._output.readexactly(guest_frames.ANSWER.size)
                )
                if kind == guest_frames.WALL:
                    return f" {_noted((await self._text_and_notes(first, second))[1])}"
        return ""

    def end(self) -> None:
        """Kill the process, unless it has answered: then it ends by itself."""
        if not self._ends:
            self._kill()
        self._input.close()

    async def gone(self) -> None:
        """Wait until the process, which was asked to end, is gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_S):
                await self._process.wait()
        self._kill()
        await self._process.communicate()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _result(self, first: int, second: int, limits: Limits) -> Computed:
        if first > limits.output_bytes or second > limits.log_bytes:
            raise SandboxCrashed("the sandbox's process broke its protocol")
        outcome, log = await self._output.readexactly(first), await self._output.readexactly(second)
        self._ends = True
        return Computed(outcome=outcome, log=log)

    async def _text_and_notes(self, first: int, second: int) -> tuple[str, bytes]:
        text = await self._output.readexactly(min(first, guest_frames.MAX_TEXT_BYTES))
        notes = await self._output.readexactly(min(second, NOTE_BYTES + guest_frames.LOG_BYTES))
        return printable(text.decode(errors="replace")), notes

    async def _complaint(self) -> str:
        assert self._process.stderr is not None  # noqa: S101 - for the type checker
        return _told(await self._process.stderr.read(_MAX_STDERR_BYTES))


async def order_done(order: Mapping[str, Any], *, timeout_s: float) -> None:
    """Have a process do what is ordered, and end. Raises GuestRefused, SandboxUnavailable, saying what went wrong."""
    try:
        process = await _spawn(order)
    except OSError as error:
        raise SandboxUnavailable(f"the sandbox's process cannot be started: {error}") from error
    try:
        async with asyncio.timeout(timeout_s):
            _, complaint = await process.communicate()
    except TimeoutError:
        raise SandboxUnavailable(f"the portable sandbox was not prepared within {timeout_s:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode:
        kind = GuestRefused if process.returncode == guest_frames.GUEST_REFUSED else SandboxUnavailable
        raise kind(f"the portable sandbox cannot be prepared: {_told(complaint[:_MAX_STDERR_BYTES])}")


async def _spawn(order: Mapping[str, Any]) -> asyncio.subprocess.Process:
    """Start a process. Raises OSError."""
    order = {**order, "paths": _paths(), "package": str(Path(__file__).parents[3])}
    flags = ["-s", "-S", "-P", *(["-B"] if sys.dont_write_bytecode else [])]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *flags,
        str(_BOOT),
        json.dumps(order),
        env={"PYTHONUTF8": "1"} | {name: os.environ[name] for name in _TO_START if name in os.environ},
        cwd=Path(sys.executable).anchor,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A terminal's Ctrl-C is not for it.
        **({"start_new_session": True} if os.name == "posix" else {"creationflags": 0x200}),
    )


def _paths() -> list[str]:
    """Return the folders that an engine's process imports from."""
    spec = importlib.util.find_spec("wasmtime")
    if spec is None or spec.origin is None:
        raise SandboxUnavailable(NOT_INSTALLED)
    return [str(Path(spec.origin).parents[1])]


def _task(work: Work, limits: Limits) -> bytes:
    guest = {
        "phase": work.phase.value,
        "seed": work.seed,
        "round_floats": work.round_floats,
        "log_bytes": limits.log_bytes,
        "functions": len(work.functions),
        "rows": len(work.rows),
    }
    about = {
        "cpu_s": limits.cpu_s,
        "memory_bytes": limits.memory_bytes,
        "output_bytes": limits.output_bytes,
        "log_bytes": limits.log_bytes,
        "guest": guest,
    }
    text = json.dumps(about).encode()
    return b"".join([guest_frames.TASK.pack(len(text)), text, work.functions, work.rows])


def _refusal(kind: bytes, text: str, notes: bytes, limits: Limits) -> SandboxError:
    if kind == guest_frames.MEMORY:
        return SandboxLimitExceeded("memory", f"{limits.memory_bytes / 2**20:.4g} MiB of memory {_noted(notes)}")
    if kind == guest_frames.CPU:
        return SandboxLimitExceeded("cpu", f"{limits.cpu_s:g} s of processor time {_noted(notes)}")
    return SandboxCrashed(f"the job did not come to an end: {text}, {_noted(notes)}")


def _noted(notes: bytes) -> str:
    """Return what the job was at, and what it printed last: its log is lost with it."""
    where = read_note(notes[:NOTE_BYTES].ljust(NOTE_BYTES, b"\0"))
    printed = printable(notes[NOTE_BYTES:][-_LAST_PRINT_BYTES:].decode(errors="replace")).strip()
    return printable(where) + (f'; it last printed "{printed}"' if printed else "")


def _told(complaint: bytes) -> str:
    return printable(complaint.decode(errors="replace").strip()) or "it said nothing"
