"""The embedded system's supervisor: starts discovery and workers on loopback, and removes them without a trace.

It is started by ``embedded`` with an order on standard input, answers with one line of JSON (discovery's URL and the
foreman's token), and lives until its standard input closes. Its children are forked, so that they share the modules
that are already imported. Each is a process with its own account, and they speak the same protocol as on a network.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import select
import shutil
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs
import msgspec

from ec262.adapters.machine.processes import die_with_parent, reap_orphans
from ec262.domain.errors import ConfigurationError
from ec262.entrypoints.embedded.embedded import SupervisorOrder
from ec262.entrypoints.shared.logs import log_to_stderr
from ec262.entrypoints.shared.settings import DiscoverySettings, WorkerSettings

FOREMAN_CREDITS = 1_000_000_000
"""The embedded foreman's credits: its own machine computes, so they must never run out."""

MAX_REPLACEMENTS = 20
"""How many workers are replaced in the life of a system; if more die, something is wrong with the machine."""

CONFIGURATION_STATUS = 2


class Supervisor:
    """The children of one embedded system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._roles: dict[int, str] = {}
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._to_discovery: int | None = None
        self._workers: dict[str, Callable[[], int]] = {}
        self._replacements = MAX_REPLACEMENTS

    def prepare(self) -> None:
        """Fork discovery, which imports what it needs while this process imports what every worker needs."""
        reading, writing = os.pipe()

        def discovery() -> int:
            os.close(writing)  # otherwise the order would never end
            return _discovery(reading, self._listening, self._folder)

        self._fork("discovery", discovery)
        os.close(reading)
        self._to_discovery = writing
        from ec262.entrypoints.worker import __main__ as worker

        worker.preload()

    def start(self, settings: WorkerSettings, count: int) -> tuple[str, str]:
        """Start discovery and fork ``count`` workers; return discovery's URL and the foreman's token."""
        from ec262.entrypoints.worker import __main__ as worker

        foreman = secrets.token_urlsafe(32)
        workers = [secrets.token_urlsafe(32) for _ in range(count)]
        grants = {foreman: FOREMAN_CREDITS} | dict.fromkeys(workers, 0)
        if self._to_discovery is not None:
            with os.fdopen(self._to_discovery, "wb") as pipe:
                pipe.write(msgspec.json.encode(grants))
        url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._listening.close()
        settings = attrs.evolve(settings, discovery=url, listen="127.0.0.1", advertise="127.0.0.1", port=0)
        self._workers = {
            f"worker {number}": partial(worker.run, settings, token=token) for number, token in enumerate(workers, 1)
        }
        for role, body in self._workers.items():
            self._fork(role, body)
        return url, foreman

    def watch(self) -> int:
        """Wait until standard input closes or the system cannot go on; return the exit status."""
        while not select.select([sys.stdin], [], [], 0.1)[0]:
            status = self._reap()
            if status:
                return status
        return 0

    def stop(self) -> None:
        """Kill every child and grandchild, and wait until they are gone: none of their state is worth keeping."""
        for pid in self._roles:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Sandboxes die with their workers and then belong to us (see reap_orphans).
        with suppress(ChildProcessError):
            while True:
                os.wait()

    def _reap(self) -> int:
        """Collect children that have ended. A killed worker is replaced; if a worker could not start, or discovery
        ended, return the system's exit status."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return 1
            role = self._roles.pop(pid, "")
            if pid == 0:
                return 0
            code = os.waitstatus_to_exitcode(status)
            if role == "discovery" or (role and code == CONFIGURATION_STATUS):
                print(f"ec262: {role} of the embedded system ended with status {code}", file=sys.stderr)
                return code if code > 0 else 1
            if role and self._replacements:
                self._replacements -= 1
                self._fork(role, self._workers[role])

    def _fork(self, role: str, body: Callable[[], int]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._roles[pid] = role
            return
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            die_with_parent(parent)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            status = body()
        except ConfigurationError as error:
            print(f"ec262: {role}: {error}", file=sys.stderr)
            status = CONFIGURATION_STATUS
        except BaseException:  # noqa: BLE001 - a forked child must never return into the parent's code
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)


def _discovery(order_pipe: int, listening: socket.socket, folder: Path) -> int:
    from ec262.entrypoints.discovery.bootstrap_discovery import build_discovery_app
    from ec262.entrypoints.http.server import serve_on_socket

    with os.fdopen(order_pipe, "rb") as pipe:
        content = pipe.read()
    if not content:  # the supervisor received no order
        return 0
    grants = msgspec.json.decode(content, type=dict[str, int])  # credits by token
    # All accounts belong to this user, so limits would protect no one.
    settings = DiscoverySettings(
        database=f"sqlite:///{folder / 'discovery.sqlite'}",
        grant=0,
        rate=0,
        max_open_tasks=FOREMAN_CREDITS,
        max_escrow=FOREMAN_CREDITS,
    )
    serve_on_socket(build_discovery_app(settings, accounts=grants, lasting=False), listening)
    return 0


def main() -> int:
    """Run one embedded system; return the exit status."""
    os.umask(0o077)
    log_to_stderr(logging.WARNING)
    reap_orphans()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="ec262-"))
    tempfile.tempdir = str(folder)  # the children's temporary files go with the folder
    supervisor = Supervisor(folder)
    try:
        supervisor.prepare()
        line = sys.stdin.buffer.readline()
        if not line:
            return 0
        order = msgspec.json.decode(line, type=SupervisorOrder)
        logging.getLogger("ec262").setLevel(order.log_level)
        url, token = supervisor.start(order.workers, order.count)
        print(json.dumps({"url": url, "token": token, "folder": str(folder)}), flush=True)
        return supervisor.watch()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing may interrupt the cleanup
        supervisor.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
