"""The embedded system as its foreman holds it: discovery and workers on this machine, for as long as it is wanted.

The system is a supervisor process and its children (see ``supervisor``). The pipe to the supervisor's standard input
is its lease of life: when that closes, for whatever reason, kill -9 included, everything ends and is removed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

import attrs
import msgspec

from ec262.domain.errors import ConfigurationError
from ec262.entrypoints.settings import Settings

STOP_S = 10.0
"""How long the supervisor may take to end its children before it is killed, and they with it."""


@attrs.frozen(kw_only=True)
class SupervisorOrder:
    """What a supervisor is told: one line of JSON on its standard input."""

    settings: Settings
    log_level: int


class EmbeddedSystem:
    """A running supervisor."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._address: tuple[str, str] | None = None

    @classmethod
    def start(cls, settings: Settings) -> Self:
        """Begin to start a system with ``settings.workers`` workers; does not wait for it."""
        # -P: the folder that the user stands in is not to shadow the standard library of these processes.
        # A session of its own: Ctrl-C at the terminal is for the foreman, which then ends the system in good order.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ec262.entrypoints.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        level = logging.getLogger("ec262").getEffectiveLevel()
        order = msgspec.json.encode(SupervisorOrder(settings=settings, log_level=level))
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # it died at once: ``address`` tells
                process.stdin.write(order + b"\n")
                process.stdin.flush()
        return cls(process)

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
