"""How every command runs: its output, and how it ends after an interruption or an output error.

Imports almost nothing: commands use it before their other imports, so that Ctrl-C during imports shows no traceback.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress

from ec262.domain.errors import OutputFailed
from ec262.domain.terminal import printable
from ec262.entrypoints.shared.interruption import exit_status

ESCAPES = "ec262.escapes"
"""The codec error handler that escapes characters an encoding lacks, as JSON does."""


def run(command: Callable[[], int]) -> int:
    """Run a command and return its exit status: that of ``command``, 1 if its output cannot be written, 130 after
    Ctrl-C, 143 after SIGTERM if it raises Terminated."""
    try:
        _make_streams_usable()
        status = command()
        _flush()
    except KeyboardInterrupt as interrupt:
        complain("interrupted")
        return exit_status(interrupt)
    except BrokenPipeError:  # the reader has seen enough
        return 1
    except OutputFailed as error:
        complain(f"ec262: {error}")
        return 1
    else:
        return status
    finally:
        _discard_what_cannot_be_written()


def tell(text: str) -> None:
    """Print a command's result. Raises OutputFailed, or BrokenPipeError if the reader has closed the pipe."""
    write((text, "\n"))


def write(pieces: Iterable[str]) -> None:
    """Print pieces of text unchanged, or on a terminal without characters that it could act on. Raises what ``tell``
    raises; errors of the pieces themselves pass through."""
    if sys.stdout is None:
        raise OutputFailed("cannot write to standard output: it is closed")
    for piece in map(printable, pieces) if sys.stdout.isatty() else pieces:
        try:
            sys.stdout.write(piece)
        except OSError as error:
            raise _failed(error) from error
    _flush()


def announce(text: str) -> None:
    """Print a line that is not essential: the service continues if it cannot be printed."""
    try:
        tell(text)
    except (BrokenPipeError, OutputFailed):
        _discard_what_cannot_be_written()


def complain(text: str) -> None:
    """Print a line on standard error; if that fails, there is nowhere else to report it."""
    with suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)


def _flush() -> None:
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError as error:
            raise _failed(error) from error


def _failed(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    return OutputFailed(f"cannot write to standard output: {error.strerror or error}")


def _discard_what_cannot_be_written() -> None:
    """Keep the interpreter from reporting errors when it flushes at exit."""
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)


def _make_streams_usable() -> None:
    """Make sure that standard error exists and that standard output accepts every character.

    If descriptors 0 to 2 were closed, the next files or sockets would get these numbers, and messages for standard
    error would be written to them.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - stays open
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error(ESCAPES, _escape)
        sys.stdout.reconfigure(errors=ESCAPES)


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Write characters as JSON does (``\u00e9``), which is valid in a result's line and legible elsewhere."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    units = (int.from_bytes(text[at : at + 2]) for at in range(0, len(text), 2))
    return "".join(f"\\u{unit:04x}" for unit in units), error.end
