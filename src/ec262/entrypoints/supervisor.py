"""The embedded system's supervisor: starts discovery and workers on loopback, and ends them without trace.

It is started by ``embedded`` with an order on standard input, answers with one line of JSON (discovery's URL and the
foreman's token), and lives until its standard input closes. The children are forked from it, so that they share what
was imported once; each is its own process with its own account, and they speak the same protocol as on a network.
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
from pathlib import Path

import attrs
import msgspec

from ec262.adapters.process import die_with_parent, reap_orphans
from ec262.domain.errors import ConfigurationError
from ec262.entrypoints.embedded import SupervisorOrder
from ec262.entrypoints.settings import Settings

FOREMAN_CREDITS = 1_000_000
"""The embedded foreman's purse: its own machine computes, so credits are no object."""

CONFIGURATION_STATUS = 2


class Supervisor:
    """The children of one embedded system."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._roles: dict[int, str] = {}

    def start(self) -> tuple[str, str]:
        """Fork discovery and the workers; return discovery's URL and the foreman's token."""
        foreman = secrets.token_urlsafe(32)
        workers = [secrets.token_urlsafe(32) for _ in range(self._settings.workers)]
        grants = {foreman: FOREMAN_CREDITS} | dict.fromkeys(workers, 0)
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            self._fork("discovery", lambda: _discovery(self._settings, listening, self._folder, grants))
            # While discovery imports what it needs, import here what every worker needs, once for all.
            from ec262.entrypoints import worker

            settings = attrs.evolve(self._settings, discovery=url, listen="127.0.0.1", advertise="127.0.0.1", port=0)
        for number, token in enumerate(workers, 1):
            self._fork(f"worker {number}", lambda token=token: worker.run(settings, token=token))
        return url, foreman

    def watch(self) -> int:
        """Wait until standard input closes or the system cannot go on; return the exit status."""
        while not select.select([sys.stdin], [], [], 0.1)[0]:
            status = self._reap()
            if status:
                return status
        return 0

    def stop(self) -> None:
        """Kill every child and grandchild, and wait until they are gone: nothing of them is worth keeping."""
        for pid in self._roles:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Sandboxes die with their workers and then belong to us (see reap_orphans).
        with suppress(ChildProcessError):
            while True:
                os.wait()

    def _reap(self) -> int:
        """Collect children that ended. A worker that was killed is missed by nobody; one that could not start, or
        discovery's end, is the end of all."""
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


def _discovery(settings: Settings, listening: socket.socket, folder: Path, grants: dict[str, int]) -> int:
    from ec262.entrypoints.bootstrap import build_discovery_app
    from ec262.entrypoints.discovery import serve_on_socket

    settings = attrs.evolve(settings, database=f"sqlite:///{folder / 'discovery.sqlite'}", grant=0)
    serve_on_socket(build_discovery_app(settings, accounts=grants), listening)
    return 0


def main() -> int:
    """Run one embedded system; return the exit status."""
    os.umask(0o077)
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=SupervisorOrder)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("ec262").setLevel(order.log_level)
    reap_orphans()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="ec262-"))
    tempfile.tempdir = str(folder)  # the children's temporary files go with the folder
    supervisor = Supervisor(order.settings, folder)
    try:
        url, token = supervisor.start()
        print(json.dumps({"url": url, "token": token}), flush=True)
        return supervisor.watch()
    finally:
        supervisor.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
