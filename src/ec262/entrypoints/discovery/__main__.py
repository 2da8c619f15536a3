"""``python -m ec262.entrypoints.discovery``: serve the ``/v1`` API.

After SIGTERM or Ctrl-C, it accepts no new requests, finishes open ones and ends within 5 s; a second signal ends it at
once. Exit status: 0 after SIGTERM, 130 after Ctrl-C, 2 if it cannot start, 128 plus the signal's number if it had
to end before all requests were finished.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import resource
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ec262.domain.errors import ConfigurationError, Ec262Error, StorageDamaged
from ec262.entrypoints.discovery.bootstrap_discovery import advice_on_damage
from ec262.entrypoints.shared.command import announce, complain, run
from ec262.entrypoints.shared.interruption import exit_status

if TYPE_CHECKING:
    from ec262.entrypoints.http.metrics import Meter
    from ec262.entrypoints.shared.settings import DiscoverySettings

SPARE_FILES = 100
"""Open files besides clients' connections: the database, and connections that probe workers."""

LEAST_FILES = SPARE_FILES + 28
"""With fewer it could serve hardly any clients."""

NEW_OBJECTS = 20_000
"""Number of new objects after which the interpreter looks for cycles: those of a hundred requests or a few large
batches."""

ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - to recognize them

_log = logging.getLogger("ec262.entrypoints.discovery")  # under ``-m`` the module has another name


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    from ec262.entrypoints.shared.logs import configure_logging
    from ec262.entrypoints.shared.settings import DiscoverySettings, load_settings

    arguments = _parser().parse_args(argv)
    try:
        settings = load_settings(DiscoverySettings, vars(arguments), os.environ)
        configure_logging(arguments, settings.log_format)
        return _serve(settings)
    except StorageDamaged as error:
        complain(f"ec262: {advice_on_damage(error, settings)}")
        return 2
    except Ec262Error as error:
        complain(f"ec262: {error}")
        return 2


def _serve(settings: DiscoverySettings) -> int:
    """Serve until a signal; return the exit status."""
    from ec262.entrypoints.discovery.bootstrap_discovery import build_discovery_app
    from ec262.entrypoints.http.client_address import ClientAddresses
    from ec262.entrypoints.http.server import Connections, TlsFiles, serve_on_socket

    tls = None if settings.tls_cert is None else TlsFiles(settings.tls_cert, settings.tls_key)
    if tls is None and settings.tls_key is not None:
        raise ConfigurationError("there is a TLS key without a certificate: give --tls-cert as well")
    room, waiting = _room_for(settings.max_connections)
    connections = Connections(room, ClientAddresses(settings.trusted_proxy).is_proxy, waiting=waiting)
    with _metrics(settings) as meter, _listen(settings.host, settings.discovery_port) as listening:
        app = build_discovery_app(settings, meter=meter)
        announcement = _announcement(settings, listening)
        _collect_rarely()
        try:
            serve_on_socket(app, listening, tls=tls, connections=connections, on_started=lambda: announce(announcement))
        except KeyboardInterrupt as interrupt:  # a clean end: there is nothing to report
            return exit_status(interrupt)
    return 0


def _collect_rarely() -> None:
    """Run the cycle collector rarely. The values of a batch are thousands of objects without cycles; examining them and
    the kept tasks again and again took a fifth of the service's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, 20, 50)


@contextmanager
def _metrics(settings: DiscoverySettings) -> Iterator[Meter]:
    from ec262.entrypoints.http.metrics import Meter, PrometheusMeter, served_metrics

    if settings.metrics_port is None:
        yield Meter()
        return
    meter = PrometheusMeter()
    with served_metrics(meter, settings.metrics_host, settings.metrics_port) as port:
        _log.info("metrics at http://%s:%d/metrics", settings.metrics_host, port)
        yield meter


def _room_for(connections: int) -> tuple[int, int]:
    """Return how many of these connections the system allows, and how many more may be accepted only to be refused, as
    each takes a descriptor. Raises the limit on open files; ConfigurationError if even that is too low.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return connections, connections // 4 + 1
    if hard < LEAST_FILES:
        raise ConfigurationError(
            f"this process may open {hard} files, but discovery needs at least {LEAST_FILES}: raise the limit "
            "(ulimit -n, or LimitNOFILE= of systemd)"
        )
    room = min(connections, (hard - SPARE_FILES) * 4 // 5)
    if room < connections:
        _log.warning("--max-connections %d is lowered to %d: the limit on open files is %d", connections, room, hard)
    return room, room // 4 + 1


def _parser() -> argparse.ArgumentParser:
    from ec262.entrypoints.shared.logs import add_verbosity
    from ec262.version import __version__

    parser = argparse.ArgumentParser(
        prog="ec262 discovery",
        description="Run a discovery service, which introduces foremen to workers and keeps their credits.",
    )
    add = parser.add_argument
    add("--host", help="address to listen on (default: 127.0.0.1; 0.0.0.0 to accept other machines)")
    add("--port", type=int, dest="discovery_port", metavar="PORT", help="TCP port (default: 26262; 0: any free port)")
    add(
        "--database",
        metavar="URL",
        help="sqlite:///PATH or postgresql://HOST/NAME (default: a file in your data folder)",
    )
    add("--grant", metavar="N", help="starting credits of a new account (default: 12), or: invitation, none")
    add("--separate", nargs="+", metavar="WHAT", help="what no two workers of a task may have in common: owner, block")
    add("--max-open-tasks", type=int, metavar="N", help="open tasks that an account may have (default: 10000)")
    add("--max-escrow", type=int, metavar="N", help="credits that an account may have in escrow (default: 100000)")
    add("--audit-rate", type=float, metavar="P", help="share of lone workers' tasks that are audited (default: 0.08)")
    add("--max-beginners", type=int, metavar="N", help="beginners that the pool may hold (default: 256)")
    add("--retention", type=float, metavar="S", help="how long to keep tasks that have ended (default: 86400)")
    add(
        "--history",
        type=float,
        metavar="S",
        help="how long to keep single movements of credits; older ones are summed by account and month "
        "(default: 2592000, 30 days)",
    )
    add("--tls-cert", metavar="FILE", help="certificate with its chain (PEM): serve HTTPS")
    add("--tls-key", metavar="FILE", help="its private key (PEM), if it is not in the same file")
    add(
        "--trusted-proxy",
        action="append",
        metavar="NETWORK",
        help="address or network of a reverse proxy whose X-Forwarded-For is trusted; may be repeated",
    )
    add(
        "--worker-network",
        action="append",
        metavar="NETWORK",
        help="private address or network in which workers are allowed, in addition to global ones; may be repeated",
    )
    add(
        "--rate",
        type=float,
        metavar="N",
        help="requests per second that an account may make (default: 100; 0: no limit)",
    )
    add("--burst", type=int, metavar="N", help="requests that an account may make at once (default: 1000)")
    add("--max-connections", type=int, metavar="N", help="connections open at the same time (default: 2000)")
    add("--metrics-port", type=int, metavar="PORT", help="serve metrics for Prometheus on this port (default: none)")
    add("--metrics-host", metavar="HOST", help="address to serve metrics on (default: 127.0.0.1)")
    add("--log-format", choices=("text", "json"), help="log format, for people or for programs (default: text)")
    add(
        "--api-2012",
        action="store_true",
        default=None,
        help="also offer the 2012 API, which trusts source addresses",
    )
    add("--task-ttl", type=float, metavar="S", help="2012: seconds until a forgotten task is refunded (default: 86400)")
    add("--api-2012-credits", type=int, metavar="N", help="2012: credits of a new client (default: 12)")
    add("--api-2012-workers", type=int, metavar="N", help="2012: workers per task, and so its price (default: 3)")
    add("--api-2012-port", type=int, metavar="PORT", help="2012: port of a worker that names none (default: 26262)")
    add("--api-2012-lease", type=int, metavar="S", help="2012: lease of a worker that names none (default: 60)")
    add("--api-2012-key-bytes", type=int, metavar="N", help="2012: size of a task's key (default: 16)")
    add("--config", metavar="FILE", help="settings file (TOML)")
    add_verbosity(parser)
    add("--version", action="version", version=f"ec262 {__version__}")
    return parser


def _listen(host: str, port: int) -> socket.socket:
    from ec262.entrypoints.http.server import BACKLOG

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        # create_server wraps the system's reason in a long text; an unknown host name has no error number.
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number is not None and number > 0 else "no such address"
        raise ConfigurationError(f"cannot listen on {host} port {port}: {reason}") from error


def _announcement(settings: DiscoverySettings, listening: socket.socket) -> str:
    host = socket.gethostname() if settings.host in ANYWHERE else settings.host
    scheme = "http" if settings.tls_cert is None else "https"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    return f"discovery listens on {url}; start workers and foremen with --discovery {url}"


if __name__ == "__main__":
    sys.exit(main())
