"""Logging of all commands: to standard error, and only warnings by default."""

from __future__ import annotations

import argparse
import json
import logging
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType

from ec262.domain.terminal import indented

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

REQUEST_FIELDS = ("client", "method", "path", "status", "ms")
"""Fields of a request's log line besides its message; never headers or bodies, which hold tokens and keys."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the current request; threads that are started for the request inherit it."""


ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def _written(exc_info: ExcInfo) -> str:
    """Format a traceback without PostgreSQL's details of the row that broke a rule: rows hold keys and secrets."""
    lines = "".join(traceback.format_exception(*exc_info)).splitlines(keepends=True)
    return "".join(line for line in lines if "DETAIL:" not in line)


class TextFormatter(logging.Formatter):
    """Lines for people; a request's lines end with its id."""

    def __init__(self) -> None:
        super().__init__(LOG_FORMAT)

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 - the base class's name
        """Format a traceback, indented: an exception's text may contain lines that look like log lines."""
        return indented("\n" + _written(ei).rstrip()).removeprefix("\n")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        """Append the id of the request, if there is one."""
        record.message = indented(record.message)
        line, of_request = super().formatMessage(record), request_id.get()
        return f"{line} [{of_request}]" if of_request else line


class JsonFormatter(logging.Formatter):
    """Lines for programs: one JSON object each."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; a traceback becomes one string."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id.get():
            line["request_id"] = request_id.get()
        line |= {name: getattr(record, name) for name in REQUEST_FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = _written(record.exc_info)
        # ASCII without controls: a terminal acts on none of it.
        return json.dumps(line, separators=(",", ":")).replace("\x7f", "\\u007f")


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add the flags of 2012: ``-v`` for INFO, ``-V`` for DEBUG."""
    parser.add_argument("-v", "--verbose", action="store_true", help="log progress")
    parser.add_argument("-V", "--loud", action="store_true", help="debug output")


def configure_logging(arguments: argparse.Namespace, log_format: str = "text") -> None:
    """Set the level from the flags, and the format: ``text`` or ``json``."""
    level = logging.DEBUG if arguments.loud else logging.INFO if arguments.verbose else logging.WARNING
    log_to_stderr(level, log_format)


def log_to_stderr(level: int, log_format: str = "text") -> None:
    """Log ec262's own messages at this level and above. Libraries stay at warnings: their debug output could hold
    tokens."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("ec262").setLevel(level)
