"""Writes a job's result for the ``foreman`` command."""

from __future__ import annotations

import argparse
import heapq
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from ec262.adapters.files.whole_file import WholeFile
from ec262.domain.errors import ConfigurationError, OutputFailed
from ec262.domain.terminal import one_line
from ec262.domain.values import canonical
from ec262.entrypoints.shared.command import complain, write

MAX_LINES_SHOWN = 40
"""Lines of a result that are printed to a terminal; files and pipes get all lines."""

MAX_BITS_SHOWN = 256
"""Size of the largest int that a terminal shows in a column."""


@attrs.define
class JobOutput:
    """The destination of a result, and how many lines were written."""

    put: Callable[[Iterable[bytes]], None]
    lines: int = 0

    def write(self, lines: Iterable[bytes]) -> None:
        """Write the lines of a result. Raises OutputFailed, or BrokenPipeError if the reader has closed the pipe."""
        self.put(self._counted(lines))

    def _counted(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.lines += 1
            yield line


@contextmanager
def opened_output(arguments: argparse.Namespace) -> Iterator[JobOutput]:
    """Yield the destination of the result. A file is opened before any work is done, and appears under its name when it
    is complete. Raises ConfigurationError if it cannot be written or is one of the job's own files."""
    if arguments.dry_run or arguments.check_determinism:
        yield JobOutput(_print_lines)
        return
    _refuse_own_files(arguments)
    if not arguments.output:
        yield JobOutput(_print_lines)
        return
    path = Path(arguments.output)
    with ExitStack() as stack:
        try:
            # Something other than a plain file (a pipe, a device) is written in place: a file must not replace it.
            if path.exists() and not path.is_file():
                file: BinaryIO = path.open("wb")
                stack.callback(_close, file)
                publish = file.flush
            else:
                whole = stack.enter_context(WholeFile(path))
                file, publish = whole.file, whole.publish
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror or error}") from error
        yield JobOutput(partial(_write_lines, file, path))
        with _explained(path):
            publish()


def _write_lines(file: BinaryIO, path: Path, lines: Iterable[bytes]) -> None:
    with _explained(path):
        file.writelines(lines)
        file.flush()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFailed(f"cannot write {path}: {error.strerror or error}") from error


def _close(file: BinaryIO) -> None:
    with suppress(OSError):  # flushing has already reported errors
        file.close()


def _print_lines(lines: Iterable[bytes]) -> None:
    """Print a result; on a terminal, only as much of it as a person wants to read."""
    if sys.stdout is None or not sys.stdout.isatty():
        write(line.decode() for line in lines)
        return
    shown, count = _excerpt(lines)
    write(shown)
    if count > len(shown):
        complain(f"... and {count - len(shown):,} more: --output FILE writes all")


# --- what a terminal shows ------------------------------------------------------------------------------------------

Number = int | float
Ranked = tuple[Number, int, Any]
"""A value, the position of its line counted downwards (of equal values, the first in the result wins), and its key."""


def _excerpt(lines: Iterable[bytes]) -> tuple[list[str], int]:
    """Return what a terminal shows of a result, and how many lines it has: the largest values if all are numbers,
    otherwise the first lines."""
    first: list[bytes] = []
    largest: list[Ranked] | None = []
    count = 0
    for count, line in enumerate(lines, 1):
        if count <= MAX_LINES_SHOWN:
            first.append(line)
        if largest is not None:
            key, value = canonical.decode(line.rstrip(b"\n"))
            if not _is_number(value):
                largest = None
            elif len(largest) < MAX_LINES_SHOWN:
                heapq.heappush(largest, (value, -count, key))
            else:
                heapq.heappushpop(largest, (value, -count, key))
    return ([line.decode() for line in first] if largest is None else _column(largest)), count


def _is_number(value: object) -> bool:
    """Tell whether a value can be ranked and fits into a column."""
    if isinstance(value, int):
        return not isinstance(value, bool) and value.bit_length() <= MAX_BITS_SHOWN
    return isinstance(value, float) and not math.isnan(value)


def _column(entries: Iterable[Ranked]) -> list[str]:
    """Write entries as aligned lines of value and key, the largest value first."""
    cells = [(f"{value:,}", key) for value, _, key in sorted(entries, reverse=True)]
    width = max((len(value) for value, _ in cells), default=0)
    return [f"{value:>{width}}  {one_line(key if isinstance(key, str) else repr(key))}\n" for value, key in cells]


# --- files that must not be overwritten -----------------------------------------------------------------------------


def _refuse_own_files(arguments: argparse.Namespace) -> None:
    """Raise ConfigurationError if an output file would replace an input file or another output file."""
    read = {"the job": [arguments.job], "an input": arguments.input or []}
    written = [("--output", Path(arguments.output))] if arguments.output else []
    named = arguments.report or os.environ.get("EC262_REPORT")
    if named:
        report = Path(named)
        written += [("--report", path) for path in dict.fromkeys((report, report.with_suffix(".json")))]
    for number, (flag, path) in enumerate(written):
        for what, names in read.items():
            if any(_same_file(path, Path(name)) for name in names):
                raise ConfigurationError(f"{flag} {path} would overwrite {what}: give another name")
        others = [other for other_flag, other in written[:number] if other_flag != flag]
        if os.path.realpath(path) in map(os.path.realpath, others):
            raise ConfigurationError(f"{flag} {path} would overwrite what --output writes: give another name")


def _same_file(first: Path, second: Path) -> bool:
    """Whether both paths name the same plain file."""
    try:
        return first.is_file() and first.samefile(second)
    except OSError:
        return False
