"""What worker and child say to one another about a task. The worker believes nothing: sizes are checked before a byte
is read, and what comes is bytes, never loaded here."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket

from ec262.adapters.sandbox.linux.child import frames
from ec262.adapters.sandbox.linux.offspring import RequestedChild
from ec262.domain.errors import SandboxBroken, SandboxCrashed, SandboxError, SandboxLimitExceeded
from ec262.domain.terminal import printable
from ec262.domain.work.work import Computed, Limits, Phase, Work

_LAST_WORDS_S = 0.2
_EXIT_S = 1.0


async def converse(child: RequestedChild, work: Work, limits: Limits) -> Computed:
    """Send the work, return the answer. Takes for ever if the child wants it so: set a deadline.

    Raises SandboxLimitExceeded, SandboxCrashed, SandboxBroken.
    """
    await _send(child.stream, work, limits)
    try:
        kind, first, second = frames.ANSWER.unpack(await _read(child.stream, frames.ANSWER.size))
        if kind != frames.RESULT:
            text = await _read(child.stream, min(first, frames.MAX_TEXT_BYTES))
            raise _refusal(kind, text, limits)
        if first > limits.output_bytes:
            raise SandboxLimitExceeded("output", f"a result of {first} bytes where {limits.output_bytes} are allowed")
        if second > limits.log_bytes:
            raise SandboxCrashed(f"the job broke the sandbox's protocol: a log of {second} bytes")
        return Computed(outcome=await _read(child.stream, first), log=await _read(child.stream, second))
    except (EOFError, OSError):
        raise await _how_it_ended(child, limits) from None


async def last_words(child: RequestedChild) -> str:
    """Ask a child whose time is over what it was at; return " " and what it says, or what it has noted, or nothing."""
    child.signal(signal.SIGALRM)
    with contextlib.suppress(TimeoutError, EOFError, OSError):
        async with asyncio.timeout(_LAST_WORDS_S):
            kind, first, _ = frames.ANSWER.unpack(await _read(child.stream, frames.ANSWER.size))
            if kind == frames.WALL:
                return _where(await _read(child.stream, min(first, frames.MAX_TEXT_BYTES)))
    return child.noted()


async def _send(stream: socket.socket, work: Work, limits: Limits) -> None:
    loop = asyncio.get_running_loop()
    is_reduce = work.phase is Phase.REDUCE
    sizes = len(work.functions), len(work.rows)
    # One that has ended may have said why: that is read next.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        about = is_reduce, work.seed, work.round_floats, limits.log_bytes
        await loop.sock_sendall(stream, frames.TASK.pack(*about, *sizes))
        await loop.sock_sendall(stream, work.functions)
        await loop.sock_sendall(stream, work.rows)


async def _read(stream: socket.socket, size: int) -> bytes:
    """Read exactly ``size`` bytes. Raises EOFError, OSError."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = await asyncio.get_running_loop().sock_recv_into(stream, view)
        if not count:
            raise EOFError
        view = view[count:]
    return bytes(data)


def _refusal(kind: bytes, text: bytes, limits: Limits) -> SandboxError:
    if kind == frames.MEMORY:
        return SandboxLimitExceeded("memory", f"{limits.memory_bytes / 2**20:.4g} MiB of memory{_where(text)}")
    if kind == frames.CPU:
        return _cpu_exceeded(limits, _where(text))
    if kind == frames.OPEN:
        return SandboxBroken(f"the task's process could not be locked in{_where(text)}")
    return SandboxCrashed(f"the job broke the sandbox's protocol: an answer of kind {kind!r}")


def _where(text: bytes) -> str:
    return " " + printable(text.decode(errors="replace")) if text else ""


def _cpu_exceeded(limits: Limits, where: str = "") -> SandboxLimitExceeded:
    return SandboxLimitExceeded("cpu", f"{limits.cpu_s:g} s of processor time{where}")


async def _how_it_ended(child: RequestedChild, limits: Limits) -> SandboxError:
    """Say why a child gave no answer."""
    await asyncio.wait([child.exited], timeout=_EXIT_S)
    if not child.exited.done():
        return SandboxCrashed("the job closed its connection to the sandbox")
    end = child.exited.result()
    if end is None:
        return SandboxBroken("the sandbox's own process ended")
    if end.code == -signal.SIGKILL and end.cpu_s >= limits.cpu_s:
        return _cpu_exceeded(limits, child.noted())
    where = child.noted()
    return SandboxCrashed(_cause_of_death(end.code) + (f",{where}" if where else ""))


def _cause_of_death(code: int) -> str:
    if code == -signal.SIGSYS:
        return "the job made a system call that the sandbox ends a process for (rule: system calls)"
    if code == -signal.SIGKILL:
        return "the task's process was killed, most likely because this machine ran out of memory"
    if code < 0:
        return f"the job crashed its process ({signal.Signals(-code).name})"
    return f"the job ended its process, with exit status {code} and no result"
