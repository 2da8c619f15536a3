"""The foreman's side of the embedded system: discovery and workers on this machine, for as long as they are needed.

The system is a supervisor process and its children (see ``supervisor``). The system lives as
long as the pipe to the supervisor's standard input: when it closes, even after kill -9, everything ends and is removed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import attrs
import msgspec

from ec262.domain.errors import ConfigurationError
from ec262.entrypoints.embedded.launch import launch_supervisor
from ec262.entrypoints.shared.settings import WorkerSettings

STOP_S = 10.0
"""How long the supervisor may take to end its children before it is killed together with them."""


@attrs.frozen(kw_only=True)
class SupervisorOrder:
    """The order to a supervisor: one line of JSON on its standard input."""

    workers: WorkerSettings
    count: int
    """How many workers."""
    log_level: int


class EmbeddedSystem:
    """A running supervisor (see ``launch``) and what it started: discovery, and ``count`` workers."""

    def __init__(self, process: subprocess.Popen[bytes], workers: WorkerSettings, count: int) -> None:
        """Order the supervisor to start them, without waiting."""
        self._process = process
        self._workers = workers
        self._count = count
        self._lock = threading.Lock()
        self._address: tuple[str, str] | None = None
        self._folder: str | None = None
        self.users = 0
        """How many jobs run on it."""
        self._order(workers, count)

    def _order(self, workers: WorkerSettings, count: int) -> None:
        level = logging.getLogger("ec262").getEffectiveLevel()
        order = msgspec.json.encode(SupervisorOrder(workers=workers, count=count, log_level=level))
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # it died at once: ``address`` reports it
                self._process.stdin.write(order + b"\n")
                self._process.stdin.flush()

    def suits(self, workers: WorkerSettings, count: int) -> bool:
        """Tell whether it runs and has such workers; they may allow additional packages."""
        own = self._workers
        alike = attrs.evolve(own, allow=workers.allow) == workers and set(own.allow) >= set(workers.allow)
        return self.runs and alike and self._count == count

    @property
    def runs(self) -> bool:
        """Whether the supervisor has not ended."""
        return self._process.poll() is None

    def address(self) -> tuple[str, str]:
        """Wait for the system; return discovery's URL and the token of the foreman's account. May be called in any
        thread.

        Raises ConfigurationError if the system does not start; its error is on standard error.
        """
        with self._lock:  # only one line can be read
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
        """Run the body; if the system ends in the meantime, cancel the body and raise ConfigurationError."""
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
            raise ConfigurationError(f"the embedded system ended during the job (exit status {status})") from None
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)

    def close(self) -> None:
        """End every process of the system and remove its files. May be called twice."""
        _end(self._process)
        if self._folder is not None:  # a supervisor that was killed could not remove it
            shutil.rmtree(self._folder, ignore_errors=True)


class EmbeddedSystems:
    """The embedded systems of a session. Jobs with the same needs share one, even at the same time. A job with other
    needs gets its own system, which replaces the idle ones."""

    def __init__(self, supervisor: subprocess.Popen[bytes] | None) -> None:
        """``supervisor`` is one that was launched early and waits for its order."""
        self._supervisor = supervisor
        self._systems: list[EmbeddedSystem] = []
        self._lock = threading.Lock()
        self._process = os.getpid()

    @contextmanager
    def lend(self, workers: WorkerSettings, count: int) -> Iterator[EmbeddedSystem]:
        """Lend a system with such workers to one job."""
        self._forget_inherited()
        with self._lock:
            system = next((each for each in self._systems if each.suits(workers, count)), None)
            if system is None:
                self._close([each for each in self._systems if not each.users])
                system = EmbeddedSystem(self._supervisor or launch_supervisor(), workers, count)
                self._supervisor = None
                self._systems.append(system)
            system.users += 1
        try:
            yield system
        finally:
            with self._lock:
                system.users -= 1
                if not system.users and not system.runs:
                    self._close([system])

    def close(self) -> None:
        """End all systems. May be called twice."""
        self._forget_inherited()
        with self._lock:
            self._close(list(self._systems))
            if self._supervisor is not None:
                _end(self._supervisor)
                self._supervisor = None

    def _close(self, systems: list[EmbeddedSystem]) -> None:
        for system in systems:
            if system in self._systems:
                self._systems.remove(system)
                system.close()

    def _forget_inherited(self) -> None:
        """Drop the systems in a forked process: they belong to the process that started them."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._systems, self._supervisor, self._lock = [], None, threading.Lock()


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    for pipe in (supervisor.stdin, supervisor.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    try:
        supervisor.wait(STOP_S)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()
