"""``python -m ec262.entrypoints.discovery``: serve the ``/v1`` API.

Exit status: 0 after SIGTERM, 130 after Ctrl-C, 2 if it cannot start.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence

import uvicorn
from starlette.types import ASGIApp

from ec262 import __version__
from ec262.domain.errors import ConfigurationError, Ec262Error
from ec262.entrypoints.bootstrap import build_discovery_app
from ec262.entrypoints.logs import add_verbosity, configure_logging
from ec262.entrypoints.settings import Settings, load_settings

BACKLOG = 512
KEEP_ALIVE_S = 75
"""Longer than the pauses of a foreman or worker between its calls, so that these keep their connections."""

SHUTDOWN_S = 5
"""How long requests under way may take to end."""

ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - to recognize them


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = _parser().parse_args(argv)
    configure_logging(arguments)
    try:
        settings = load_settings(vars(arguments), os.environ)
        with _listen(settings.host, settings.discovery_port) as listening:
            app = build_discovery_app(settings)
            print(_announcement(settings, listening), flush=True)
            serve_on_socket(app, listening)
    except Ec262Error as error:
        print(f"ec262: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def serve_on_socket(app: ASGIApp, listening: socket.socket) -> None:
    """Serve on a bound, listening socket until SIGTERM or Ctrl-C; then end what is under way, and return.

    Raises KeyboardInterrupt after Ctrl-C. To be called in the main thread.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # the address of the connection is what counts; headers are anybody's
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    server = uvicorn.Server(config)
    # uvicorn shuts down on either signal, and then raises it anew for whoever handled it before: a SIGTERM is done.
    signal.signal(signal.SIGTERM, lambda _number, _frame: setattr(server, "should_exit", True))
    # Made anew from its descriptor, the socket knows that it speaks TCP: create_server's do not, and only where it is
    # known does asyncio set TCP_NODELAY, without which every reply waits 40 ms for the caller's delayed ACK.
    with socket.socket(fileno=os.dup(listening.fileno())) as known:
        asyncio.run(server.serve(sockets=[known]))
    if not server.started:
        raise ConfigurationError("the service could not start; the log has the reason")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ec262 discovery",
        description="Serve as the discovery service: introduce foremen to workers, and keep their credits.",
    )
    add = parser.add_argument
    add("--host", help="address to listen on (default: 127.0.0.1; 0.0.0.0 for other machines)")
    add("--port", type=int, dest="discovery_port", metavar="PORT", help="TCP port (default: 26262; 0: any free one)")
    add("--database", metavar="URL", help="sqlite:///PATH (default: a file in the user's data directory)")
    add("--grant", type=int, metavar="N", help="credits that a new account starts with (default: 12)")
    add("--config", metavar="FILE", help="settings file (TOML)")
    add_verbosity(parser)
    add("--version", action="version", version=f"ec262 {__version__}")
    return parser


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        # create_server makes its own long text of the system's reason; a name that is no host has no such number.
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number is not None and number > 0 else "no such address"
        raise ConfigurationError(f"cannot listen on {host} port {port}: {reason}") from error


def _announcement(settings: Settings, listening: socket.socket) -> str:
    host = socket.gethostname() if settings.host in ANYWHERE else settings.host
    url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    return f"discovery listens on {url}; start workers and foremen with --discovery {url}"


if __name__ == "__main__":
    sys.exit(main())
