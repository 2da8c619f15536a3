"""Errors of ``run_job`` as the author of a job should see them, in Python, IPython and pytest.

An error's traceback has the caller's frames, one frame of ec262, and then those of the function that failed on a
worker, rebuilt from the worker's traceback. It shows neither how the job was run nor chained exceptions.
"""

from __future__ import annotations

import asyncio
import linecache
import logging
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from types import TracebackType

from ec262.domain.errors import Ec262Error, UserCodeFailed
from ec262.domain.work.task_log import Frame, read_task_log
from ec262.entrypoints.foreman.job_reading import pairs_of
from ec262.entrypoints.foreman.job_sources import is_ours, loaded_files, with_source_lines

_log = logging.getLogger(__name__)

_NO_COLUMNS = 0b1_1101_000
"""Entry of a code object's location table (CPython's ``Objects/locations.md``): up to eight code units without known
columns. The last bits are the number of units minus one; the line offset follows."""


def for_the_author(error: BaseException) -> BaseException | None:
    """Return an error or an interruption without its internal traceback, which is logged for debugging. UserCodeFailed
    gets the traceback of the job's own code, and exceptions of the job's data keep theirs.

    Return None for a defect of ec262, and for anything else that should be shown unchanged.
    """
    if _raised_by_the_data(error):
        return error
    if not isinstance(error, Ec262Error | KeyboardInterrupt | asyncio.CancelledError):
        return None
    _log.debug("the job failed", exc_info=error)
    error.__cause__ = error.__context__ = None
    traceback = _with_the_jobs_own(error) if isinstance(error, UserCodeFailed) else None
    return error.with_traceback(traceback)


def _raised_by_the_data(error: BaseException) -> bool:
    """Tell whether the job's data raised this rather than ec262; if so, remove ec262's frames from its traceback."""
    entries = list(_entries(error.__traceback__))
    last = next((entry for entry in reversed(entries) if is_ours(entry.tb_frame.f_code.co_filename)), None)
    if last is None or last.tb_frame.f_code is not pairs_of.__code__ or isinstance(error, Ec262Error):
        return False
    error.__traceback__ = last.tb_next
    return True


def _with_the_jobs_own(error: UserCodeFailed) -> TracebackType | None:
    """Add notes with further details to the error, and return the traceback of the job's code."""
    known = {*loaded_files(), *linecache.cache}
    log = read_task_log(error.report, error.exception)
    error.exception_type = _loaded_type(error.exception)
    notes = [log.rest]
    # The error is the last of several exceptions, or the worker had source lines that are missing here.
    if log.causes or any(frame.source and frame.file not in known for frame in log.frames):
        notes = ["full traceback:", with_source_lines(error.report.removeprefix(log.printed), known)]
    if log.printed:
        notes += ["the task printed:", log.printed]
    for note in filter(None, (note.rstrip() for note in notes)):
        error.add_note(note)
    return _traceback(log.frames, known)


def _loaded_type(name: str) -> type[BaseException] | None:
    """Return the loaded exception class with this qualified name; if there are several, the last."""
    found = None
    for kind in _kinds(BaseException):
        module = "" if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}."
        if f"{module}{kind.__qualname__}" == name:
            found = kind
    return found


def _kinds(base: type[BaseException]) -> Iterator[type[BaseException]]:
    yield base
    for kind in type.__subclasses__(base):
        yield from _kinds(kind)


def _traceback(frames: Sequence[Frame], known: Collection[str]) -> TracebackType | None:
    """Make a traceback of these frames. A stranger may have written them, so source lines are shown only from ``known``
    files."""
    made: TracebackType | None = None
    for frame in reversed(frames):
        file = frame.file if frame.file in known else f"<{frame.file.strip('<>')}>"
        made = _entry(file, frame, made)
    return made


def _entry(file: str, frame: Frame, following: TracebackType | None) -> TracebackType:
    """Make a traceback entry as if an exception had been raised in this frame."""
    first = _first_line(file, frame)
    code = compile("raise error", file, "exec")
    code = code.replace(
        co_name=frame.function,
        co_qualname=frame.function,
        co_firstlineno=first,
        co_linetable=_all_at(frame.line - first, len(code.co_code) // 2),
    )
    error = Ec262Error()
    with suppress(Ec262Error):
        exec(code, {"error": error})  # noqa: S102 - the code above; only a frame that raises gets into a traceback
    *_, made = _entries(error.__traceback__)
    return TracebackType(following, made.tb_frame, made.tb_lasti, frame.line)


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _first_line(file: str, frame: Frame) -> int:
    """Return the first line of a frame's function, from which IPython and pytest show its source."""
    begins = re.compile(rf"\s*(async\s+)?def\s+{re.escape(frame.function)}\b")
    lines = linecache.getlines(file)[: frame.line]
    return next((number for number in range(len(lines), 0, -1) if begins.match(lines[number - 1])), frame.line)


def _all_at(lines_down: int, units: int) -> bytes:
    """Return the location table of a code object whose code is all on one line, ``lines_down`` below its first line."""
    table = bytearray()
    for start in range(0, units, 8):
        table.append(_NO_COLUMNS | min(8, units - start) - 1)
        distance = lines_down << 1 if start == 0 else 0  # the lowest bit is the sign
        while distance >= 1 << 6:
            table.append(1 << 6 | distance & 0b111111)
            distance >>= 6
        table.append(distance)
    return bytes(table)
