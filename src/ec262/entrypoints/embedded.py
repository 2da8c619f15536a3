"""The embedded system as its foreman holds it: discovery and workers on this machine, for as long as it is wanted.

The system is a supervisor process and its children (see ``supervisor``). The pipe to the supervisor's standard input
is its lease of life: when that closes, for whatever reason, kill -9 included, everything ends and is removed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
import msgspec

from ec262.domain.errors import ConfigurationError
from ec262.entrypoints.settings import WorkerSettings

STOP_S = 10.0
"""How long the supervisor may take to end its children before it is killed, and they with it."""


@attrs.frozen(kw_only=True)
class SupervisorOrder:
    """What a supervisor is told: one line of JSON on its standard input."""

    workers: WorkerSettings
    count: int
    """How many workers."""
    log_level: int


class EmbeddedSystem:
    """A running supervisor (see ``launch``) and what it started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._address: tuple[str, str] | None = None
        self._folder: str | None = None

    def order(self, workers: WorkerSettings, count: int) -> None:
        """Tell the supervisor to start discovery and so many workers; does not wait for them."""
        level = logging.getLogger("ec262").getEffectiveLevel()
        order = msgspec.json.encode(SupervisorOrder(workers=workers, count=count, log_level=level))
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # it died at once: ``address`` tells
                self._process.stdin.write(order + b"\n")
                self._process.stdin.flush()

    def address(self) -> tuple[str, str]:
        """Wait for the system; return discovery's URL and the token of the foreman's account.

        Raises ConfigurationError if the system does not start; what it had to say is on standard error.
        """
        if self._address is None:
            line = self._process.stdout.readline() if self._process.stdout is not None else b""
            if not line:
                raise ConfigurationError(f"the embedded system did not start (exit status {self._process.wait()})")
            said = json.loads(line)
            self._address = said["url"], said["token"]
            self._folder = said["folder"]
        return self._address

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Run the body; if the system ends meanwhile, cancel it and raise ConfigurationError."""
        loop, body = asyncio.get_running_loop(), asyncio.current_task()
        pidfd = os.pidfd_open(self._process.pid)
        died = False

        def on_death() -> None:
            nonlocal died
            loop.remove_reader(pidfd)
            died = True
            if body is not None:
                body.cancel()

        loop.add_reader(pidfd, on_death)
        try:
            yield
        except asyncio.CancelledError:
            if not died or body is None or body.uncancel() > 0:
                raise
            status = self._process.wait()
            raise ConfigurationError(f"the embedded system ended in the middle of the job (status {status})") from None
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)

    def close(self) -> None:
        """End every process of the system and remove its files. May be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._folder is not None:  # a supervisor that was killed could not remove it
            shutil.rmtree(self._folder, ignore_errors=True)
