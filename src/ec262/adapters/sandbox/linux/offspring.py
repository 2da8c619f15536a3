"""One child of the zygote, as the worker sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket

import attrs

from ec262.adapters.sandbox.note import NOTE_BYTES, read_note
from ec262.domain.errors import SandboxBroken
from ec262.domain.terminal import printable


@attrs.frozen(kw_only=True)
class Exit:
    """How a child ended: ``code`` is negative for a signal, ``cpu_s`` the processor time it used."""

    code: int
    cpu_s: float


class RequestedChild:
    """A child that was asked for. ``stream`` is the worker's end of the socket to it, ``log`` the descriptor of memory
    that it shares, for a note of what the job is at and for what it prints."""

    def __init__(self, stream: socket.socket, log: int) -> None:
        loop = asyncio.get_running_loop()
        self.stream = stream
        self.log = log
        self.exited: asyncio.Future[Exit | None] = loop.create_future()
        """How it ended; None if that is unknown."""
        self._started: asyncio.Future[str] = loop.create_future()
        self._pidfd: int | None = None
        self._doomed = False

    @classmethod
    def expected(cls, *, log_bytes: int) -> tuple[RequestedChild, socket.socket]:
        """Return one that is still to be forked, and its own end of the stream. Raises OSError."""
        log = os.memfd_create("ec262-log")
        try:
            os.ftruncate(log, NOTE_BYTES + log_bytes)
            stream, theirs = socket.socketpair()
        except OSError:
            os.close(log)
            raise
        stream.setblocking(False)  # noqa: FBT003 - the standard library's way
        return cls(stream, log), theirs

    async def started(self) -> None:
        """Wait until the process is there. Raises SandboxBroken."""
        problem = await self._started
        if problem:
            raise SandboxBroken(f"no process could be started for the task: {problem}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process is there."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def is_waiting(self) -> bool:
        """Whether it is still there, and has not said that it could not be locked in."""
        try:
            self.stream.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self.exited.done()
        except OSError:
            pass
        return False

    def printed(self) -> bytes:
        """Return what the job has printed so far, as far as it has ended the line: what a stranger says."""
        return os.pread(self.log, os.fstat(self.log).st_size, NOTE_BYTES).rstrip(b"\0")

    def noted(self) -> str:
        """Return " " and what the job was at last, or nothing."""
        where = printable(read_note(os.pread(self.log, NOTE_BYTES, 0)))
        return f" {where}" if where else ""

    def kill(self) -> None:
        """End the process, at once or as soon as it is there: with its stream closed it gets no work till then."""
        self.stream.close()
        if not self._doomed:
            os.close(self.log)
        self._doomed = True
        self.signal(signal.SIGKILL)

    def on_started(self, pidfd: int) -> None:
        """The process is there."""
        self._pidfd = pidfd
        if self._doomed:
            self.signal(signal.SIGKILL)
        if not self._started.done():
            self._started.set_result("")

    def on_not_started(self, problem: str) -> None:
        """There will be no process."""
        if not self._started.done():
            self._started.set_result(problem)
        self.on_exited(None)

    def on_exited(self, end: Exit | None) -> None:
        """The process is gone, or, for None, its zygote is, and takes it along."""
        if not self._started.done():
            self._started.set_result("the sandbox's own process ended")
        if not self.exited.done():
            self.exited.set_result(end)
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
