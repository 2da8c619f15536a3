"""``python -m ec262.entrypoints.worker --discovery URL``: lend this machine.

SIGTERM or Ctrl-C: leave the pool, finish what is computed, deliver for a moment, end; a second one ends at once. Work
that waits is given up, and results that discovery does not take within 30 s.
Exit status: 0 after either, 2 if it cannot start. ``--check``: 0 if it could serve, 2 if not.
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

logger = logging.getLogger("ec262.entrypoints.worker")  # by -m its __name__ is another


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
    except KeyboardInterrupt:  # before the worker could hear of it
        if arguments.check:
            raise
        return 0


def _check(settings: WorkerSettings) -> int:
    import asyncio

    from ec262.entrypoints.worker.worker_check import check_worker

    return asyncio.run(check_worker(settings))


def serve(given: Mapping[str, Any]) -> None:
    """Serve until SIGTERM or Ctrl-C (see ``ec262.run_worker``). Raises Ec262Error if that cannot begin."""
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
            "only %d MiB are free in %s, and waiting results may take %d: make room, or lower --results-limit",
            free_bytes >> 20, folder, settings.results_limit_mib,
        )  # fmt: skip


def run(settings: WorkerSettings, *, token: str | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit status. To be called in the main thread.

    ``token`` is the account's; without it the account on disk is used. Raises ConfigurationError (also where the
    machine cannot sandbox), DiscoveryRefused if discovery does not let the worker in.
    """
    import asyncio

    from ec262.entrypoints.shared.settings import NO_SANDBOX, UNSAFE_SANDBOX

    if settings.sandbox == UNSAFE_SANDBOX:
        complain(NO_SANDBOX)
    with asyncio.Runner() as runner:
        hurried = runner.run(_run(settings, token))
        if hurried:
            # Everything is closed; only a call to discovery may still hang in a thread, and nobody wants its answer.
            logging.shutdown()
            os._exit(0)
    return 0


def preload() -> None:
    """Import all that ``run`` needs, once for all processes that are forked later."""
    from ec262.entrypoints.shared.settings import WorkerSettings

    build_worker(WorkerSettings(discovery="http://127.0.0.1", port=0))


async def _run(settings: WorkerSettings, token: str | None) -> bool:
    discovery = build_worker_discovery(settings, token=token)
    try:
        return await _serve(build_worker(settings, discovery=discovery), settings)
    finally:
        await discovery.close()


async def _serve(worker: Worker, settings: WorkerSettings) -> bool:
    """Run a worker until a signal tells it to stop; return whether a second one did not let it finish."""
    import asyncio

    stop = asyncio.Event()

    def on_joined(lease: Lease) -> None:
        address = lease.address
        announce(f"worker {lease.worker} serves at {address.host}:{address.port}, introduced by {settings.discovery}")

    serving = asyncio.create_task(worker.run(stop, on_joined=on_joined))

    def on_signal() -> None:
        if stop.is_set():
            serving.cancel()
        else:
            logger.info("leaving; once more to stop at once")
            stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, on_signal)
        except NotImplementedError:  # what asyncio raises on Windows, whose event loops know no signals
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
        description="Lend this machine: serve tasks of strangers in a sandbox, and be paid in credits.",
    )
    add = parser.add_argument
    add("-P", "--port", type=int, help="TCP port to serve on (default: 11235; 0: any free one)")
    add("--listen", metavar="HOST", help="address to serve on (default: all, of IPv4 and IPv6)")
    add("--discovery", metavar="URL", help="the discovery service (or EC262_DISCOVERY)")
    add("--advertise", metavar="HOST", help="where foremen reach this worker (default: where discovery sees it)")
    add(
        "--slots",
        type=int,
        metavar="N",
        help="tasks computed at the same time (default: what processors and memory allow)",
    )
    add("--ahead", type=int, metavar="N", help="tasks that may wait here for each slot (default: 0)")
    add("--allow", nargs="+", metavar="PACKAGE", help="packages that jobs may import (default: none)")
    add(
        "--memory-limit",
        type=int,
        dest="memory_limit_mib",
        metavar="MIB",
        help="memory of a task (default: 1024 at most)",
    )
    add("--cpu-limit", type=float, metavar="S", help="seconds of processor time of a task (default: 600)")
    add("--wall-limit", type=float, metavar="S", help="seconds that a task may take (default: 600)")
    add("--output-limit", type=int, dest="output_limit_mib", metavar="MIB", help="result of a task (default: 64)")
    add("--results-limit", type=int, dest="results_limit_mib", metavar="MIB",
        help="results that wait for their foremen, on disk (default: 2048)")  # fmt: skip
    add("--nice", type=int, metavar="N", help="how much tasks give way to other programs, to 19 (default: 0)")
    add("--hours", nargs="+", metavar="FROM-TO", help="when to serve, local time, as 22-6 (default: around the clock)")
    add("--when-idle", action="store_true", default=None, help="serve only while nobody else uses this machine")
    add("--idle-load", type=float, metavar="SHARE",
        help="of the processors, that others must use to count as somebody (default: 0.25)")  # fmt: skip
    add("--idle-minutes", type=float, metavar="N", help="after the last key or mouse movement (default: 10)")
    add("--lease", type=float, metavar="S", help="how long discovery counts on this worker unheard (default: 60)")
    add("--sandbox", choices=SANDBOXES, help="what keeps jobs in (default: linux)")
    add("--check", action="store_true", help="tell limits, sandbox and packages, try a job, and end")
    add("--discovery-ca", metavar="FILE", help="whom to trust for discovery's certificate (PEM; default: the usual)")
    add("--invitation", metavar="CODE", help="an invitation's code, for credits (or EC262_INVITATION)")
    add("--credentials", metavar="DIR", help="folder of account tokens")
    add("--config", metavar="FILE", help="settings file (TOML)")
    add_verbosity(parser)
    add("--version", action="version", version=f"ec262 {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
