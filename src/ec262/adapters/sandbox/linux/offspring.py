"""One child of the zygote, as the worker sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket

import attrs

from ec262.domain.errors import SandboxCrashed


@attrs.frozen(kw_only=True)
class Exit:
    """How a child ended: ``code`` is negative for a signal, ``cpu_s`` the processor time it used."""

    code: int
    cpu_s: float


class Child:
    """A child that was asked for. ``stream`` is the worker's end of the socket to it."""

    def __init__(self, stream: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.stream = stream
        self.exited: asyncio.Future[Exit | None] = loop.create_future()
        """How it ended; None where nobody is left to tell."""
        self._started: asyncio.Future[str] = loop.create_future()
        self._pidfd: int | None = None
        self._doomed = False

    async def started(self) -> None:
        """Wait until the process is there. Raises SandboxCrashed."""
        problem = await self._started
        if problem:
            raise SandboxCrashed(f"no process could be started for the task: {problem}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process is there."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """End the process, at once or as soon as it is there: with its stream closed it gets no work till then."""
        self._doomed = True
        self.stream.close()
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
