"""Errors of ``run_job`` as the author of a job is to see them, in whatever shows them: Python, IPython, pytest.

An error's traceback has the caller's frames, one of ec262's, and then those of the function that failed on a worker,
made anew from the traceback that the worker wrote. Nothing of how the job was run is in it, and no chained exception.
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
"""Entry of a code object's table of locations (CPython's ``Objects/locations.md``): up to eight code units, the number
less one in the last bits, whose columns are not known. By how many lines they are farther down follows."""


def for_the_author(error: BaseException) -> BaseException | None:
    """Return an error, or an interruption, without the traceback of how it came about, which is logged for debugging.
    Of UserCodeFailed the traceback is that of the job's own code, of what the job's data raise it is theirs.

    Return None for a defect of ec262, and for whatever else is to be shown as it is.
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
    """Tell whether a job's data raised this, and not ec262; if so, leave ec262's frames out of its traceback."""
    entries = list(_entries(error.__traceback__))
    last = next((entry for entry in reversed(entries) if is_ours(entry.tb_frame.f_code.co_filename)), None)
    if last is None or last.tb_frame.f_code is not pairs_of.__code__ or isinstance(error, Ec262Error):
        return False
    error.__traceback__ = last.tb_next
    return True


def _with_the_jobs_own(error: UserCodeFailed) -> TracebackType | None:
    """Add to the error what its sentence does not say, and return the traceback of the job's code."""
    known = {*loaded_files(), *linecache.cache}
    log = read_task_log(error.report, error.exception)
    error.exception_type = _loaded_type(error.exception)
    notes = [log.rest]
    # The error is the last of several exceptions; or the worker had source lines that are not to be found here.
    if log.causes or any(frame.source and frame.file not in known for frame in log.frames):
        notes = ["full traceback:", with_source_lines(error.report.removeprefix(log.printed), known)]
    if log.printed:
        notes += ["the task printed:", log.printed]
    for note in filter(None, (note.rstrip() for note in notes)):
        error.add_note(note)
    return _traceback(log.frames, known)


def _loaded_type(name: str) -> type[BaseException] | None:
    """Return the exception class of this qualified name, if it is loaded; the last one where several are."""
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
    """Make a traceback of these frames. A stranger may have written what they say: source lines are only shown of files
    that are ``known``."""
    made: TracebackType | None = None
    for frame in reversed(frames):
        file = frame.file if frame.file in known else f"<{frame.file.strip('<>')}>"
        made = _entry(file, frame, made)
    return made


def _entry(file: str, frame: Frame, following: TracebackType | None) -> TracebackType:
    """Raise an exception where the frame was, as far as tracebacks tell."""
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
        exec(code, {"error": error})  # noqa: S102 - the code above: only a frame that raises is one of a traceback
    *_, made = _entries(error.__traceback__)
    return TracebackType(following, made.tb_frame, made.tb_lasti, frame.line)


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _first_line(file: str, frame: Frame) -> int:
    """Return where the function of a frame begins: IPython and pytest show its lines from there on."""
    begins = re.compile(rf"\s*(async\s+)?def\s+{re.escape(frame.function)}\b")
    lines = linecache.getlines(file)[: frame.line]
    return next((number for number in range(len(lines), 0, -1) if begins.match(lines[number - 1])), frame.line)


def _all_at(lines_down: int, units: int) -> bytes:
    """Return the table of a code object whose code is all on the line that is so far below its first one."""
    table = bytearray()
    for start in range(0, units, 8):
        table.append(_NO_COLUMNS | min(8, units - start) - 1)
        distance = lines_down << 1 if start == 0 else 0  # the lowest bit is the sign
        while distance >= 1 << 6:
            table.append(1 << 6 | distance & 0b111111)
            distance >>= 6
        table.append(distance)
    return bytes(table)
