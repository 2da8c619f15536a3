"""``python -m ec262.entrypoints.worker --discovery URL``: lend this machine.

After SIGTERM or Ctrl-C, the worker leaves the pool, finishes running tasks, delivers for a moment and ends. Queued
work is given up, and so are results that discovery does not accept within 30 s. A second signal ends it at once.
Exit status: 0 after either, 2 if it cannot start. ``--check``: 0 if it can serve, 2 if not.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ec262.domain.errors import ConfigurationError, Ec262Error
from ec262.entrypoints.shared.command import announce, complain
from ec262.entrypoints.shared.command import run as run_command
from ec262.entrypoints.worker.bootstrap_worker import build_worker, build_worker_discovery, room_for_results

if TYPE_CHECKING:
    from ec262.domain.protocol.worker_calls import Lease
    from ec262.entrypoints.shared.settings import WorkerSettings
    from ec262.services.worker.worker import Worker

logger = logging.getLogger("ec262.entrypoints.worker")  # with -m, __name__ is different


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run_command(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    from ec262.entrypoints.shared.logs import configure_logging
    from ec262.entrypoints.shared.settings import WorkerSettings, load_settings

    arguments = _parser().parse_args(argv)
    configure_logging(arguments)
    try:
        settings = load_settings(WorkerSettings, vars(arguments), os.environ)
        if arguments.check:
            return _check(settings)
        _check_room(settings)
        return run(settings)
    except Ec262Error as error:
        complain(f"ec262: {error}")
        return 2
    except KeyboardInterrupt:  # before the worker handles signals
        if arguments.check:
            raise
        return 0


def _check(settings: WorkerSettings) -> int:
    import asyncio

    from ec262.entrypoints.worker.worker_check import check_worker

    return asyncio.run(check_worker(settings))


def serve(given: Mapping[str, Any]) -> None:
    """Serve until SIGTERM or Ctrl-C (see ``ec262.run_worker``). Raises Ec262Error if it cannot start."""
    import attrs

    from ec262.entrypoints.shared.settings import WorkerSettings, load_settings

    unknown = sorted(given.keys() - {field.name for field in attrs.fields(WorkerSettings)})
    if unknown:
        raise ConfigurationError(f"run_worker has no setting named {', '.join(unknown)}")
    settings = load_settings(WorkerSettings, given, os.environ, place="in the call of run_worker")
    _check_room(settings)
    run(settings)


def _check_room(settings: WorkerSettings) -> None:
    """Raise ConfigurationError if there is no room for a result; warn if there is less than the settings allow."""
    folder, free_bytes = room_for_results(settings)
    if free_bytes < settings.results_limit_mib << 20:
        logger.warning(
            "only %d MiB are free in %s, but waiting results may take %d: make room or lower --results-limit",
            free_bytes >> 20, folder, settings.results_limit_mib,
        )  # fmt: skip


def run(settings: WorkerSettings, *, token: str | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit status. Call it in the main thread.

    ``token`` is the account's; without it, the account on disk is used. Raises ConfigurationError (also if the machine
    cannot run the sandbox), DiscoveryRefused if discovery does not admit the worker.
    """
    import asyncio

    from ec262.entrypoints.shared.settings import NO_SANDBOX, UNSAFE_SANDBOX

    if settings.sandbox == UNSAFE_SANDBOX:
        complain(NO_SANDBOX)
    with asyncio.Runner() as runner:
        hurried = runner.run(_run(settings, token))
        if hurried:
            # Everything is closed; at most a call to discovery still hangs in a thread, and its reply is not needed.
            logging.shutdown()
            os._exit(0)
    return 0


def preload() -> None:
    """Import everything that ``run`` needs, once for all processes that are forked later."""
    from ec262.entrypoints.shared.settings import WorkerSettings

    build_worker(WorkerSettings(discovery="http://127.0.0.1", port=0))


async def _run(settings: WorkerSettings, token: str | None) -> bool:
    discovery = build_worker_discovery(settings, token=token)
    try:
        return await _serve(build_worker(settings, discovery=discovery), settings)
    finally:
        await discovery.close()


async def _serve(worker: Worker, settings: WorkerSettings) -> bool:
    """Run a worker until a signal tells it to stop; return whether a second signal interrupted it."""
    import asyncio

    stop = asyncio.Event()

    def on_joined(lease: Lease) -> None:
        address = lease.address
        announce(f"worker {lease.worker} serves at {address.host}:{address.port}, registered with {settings.discovery}")

    serving = asyncio.create_task(worker.run(stop, on_joined=on_joined))

    def on_signal() -> None:
        if stop.is_set():
            serving.cancel()
        else:
            logger.info("leaving the pool; repeat the signal to stop at once")
            stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, on_signal)
        except NotImplementedError:  # on Windows, where event loops do not support signals
            signal.signal(number, lambda _number, _frame: loop.call_soon_threadsafe(on_signal))
    try:
        await serving
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        return True
    return False


def _parser() -> argparse.ArgumentParser:
    from ec262.entrypoints.shared.logs import add_verbosity
    from ec262.entrypoints.shared.settings import SANDBOXES
    from ec262.version import __version__

    parser = argparse.ArgumentParser(
        prog="ec262 worker",
        description="Lend this machine: compute tasks for others in a sandbox and earn credits.",
    )
    add = parser.add_argument
    add("-P", "--port", type=int, help="TCP port to listen on (default: 11235; 0: any free port)")
    add("--listen", metavar="HOST", help="address to listen on (default: all, IPv4 and IPv6)")
    add("--discovery", metavar="URL", help="URL of the discovery service (or EC262_DISCOVERY)")
    add(
        "--advertise",
        metavar="HOST",
        help="address at which foremen reach this worker (default: the one that discovery sees)",
    )
    add(
        "--slots",
        type=int,
        metavar="N",
        help="tasks to compute at the same time (default: as many as processors and memory allow)",
    )
    add("--ahead", type=int, metavar="N", help="tasks that may queue for each slot (default: 0)")
    add("--allow", nargs="+", metavar="PACKAGE", help="packages that jobs may import (default: none)")
    add(
        "--memory-limit",
        type=int,
        dest="memory_limit_mib",
        metavar="MIB",
        help="memory that a task may use (default: at most 1024)",
    )
    add("--cpu-limit", type=float, metavar="S", help="seconds of processor time that a task may use (default: 600)")
    add("--wall-limit", type=float, metavar="S", help="seconds that a task may take (default: 600)")
    add(
        "--output-limit",
        type=int,
        dest="output_limit_mib",
        metavar="MIB",
        help="size that a task's result may have (default: 64)",
    )
    add("--results-limit", type=int, dest="results_limit_mib", metavar="MIB",
        help="disk space for results that wait for delivery (default: 2048)")  # fmt: skip
    add("--nice", type=int, metavar="N", help="niceness of tasks, up to 19 (default: 0)")
    add(
        "--hours",
        nargs="+",
        metavar="FROM-TO",
        help="hours to serve in, local time, such as 22-6 (default: around the clock)",
    )
    add("--when-idle", action="store_true", default=None, help="serve only while the machine is idle")
    add("--idle-load", type=float, metavar="SHARE",
        help="CPU share above which the machine counts as in use (default: 0.25)")  # fmt: skip
    add(
        "--idle-minutes",
        type=float,
        metavar="N",
        help="minutes without input before the machine counts as idle (default: 10)",
    )
    add(
        "--lease", type=float, metavar="S", help="how long discovery keeps a worker it has not heard from (default: 60)"
    )
    add("--sandbox", choices=SANDBOXES, help="sandbox for jobs (default: linux)")
    add("--check", action="store_true", help="print the limits and test the sandbox without contacting discovery")
    add(
        "--discovery-ca",
        metavar="FILE",
        help="CA bundle used to verify discovery's certificate (PEM; default: public CAs)",
    )
    add("--invitation", metavar="CODE", help="invitation code that brings credits (or EC262_INVITATION)")
    add("--credentials", metavar="DIR", help="folder that holds account tokens")
    add("--config", metavar="FILE", help="settings file (TOML)")
    add_verbosity(parser)
    add("--version", action="version", version=f"ec262 {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
