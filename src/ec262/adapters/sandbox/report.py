"""How the failure of a job's code is told: the part that every honest machine agrees on, and the text for the log."""

from __future__ import annotations

import errno
import itertools
import traceback
from collections.abc import Iterator
from types import TracebackType

from ec262.domain.work.outcome import Failure

MAX_FRAMES = 32
"""Outermost frames that a failure tells: how deep a recursion came may differ between machines, its start does not."""

_MAX_NAME_CHARS = 200

_REFUSED = (
    "[the sandbox refused this: a job can use no file, no network, no other process and no shared memory, and gets no "
    "new code from the machine it runs on]\n"
)
_SAYS_SO = "the ec262 sandbox"


def failure(error: BaseException, *, function: str, row: str | None) -> Failure:
    """Return what honest machines agree on: no message, no path, no frame of this machine's own library."""
    return Failure(function=function, exception=_type_name(error), row=row, frames=_own_frames(error.__traceback__))


def traceback_text(error: BaseException) -> str:
    """Return the traceback as Python prints it, from the job's first frame on, or the error alone where it has none."""
    try:
        if _own_frames(error.__traceback__):
            lines = traceback.format_exception(type(error), error, _without_ours(error.__traceback__))
        else:
            lines = traceback.format_exception_only(error)
    except MemoryError:
        raise
    except BaseException as second:  # noqa: BLE001 - str() and repr() of the error are the job's code
        lines = [f"{_type_name(error)} (and to print it raised {_type_name(second)})\n"]
    text = "".join(lines)
    refused = isinstance(error, OSError) and error.errno == errno.EPERM and _SAYS_SO not in text
    return text + (_REFUSED if refused else "")


def _type_name(error: BaseException) -> str:
    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}"
    for plain in ("builtins.", "__main__.", "ec262.domain.errors."):
        name = name.removeprefix(plain)
    return _name(name)


def _name(text: str) -> str:
    """Make any text one that fits a failure: the job may have given its types and functions odd names."""
    return text[:_MAX_NAME_CHARS].encode(errors="backslashreplace").decode()


def _without_ours(tb: TracebackType | None) -> TracebackType | None:
    """Leave out the sandbox's own frames: the first ones, and those of a refused import."""
    theirs = [entry for entry in _entries(tb) if not _module_name(entry).startswith("ec262.adapters.sandbox.")]
    kept: TracebackType | None = None
    for entry in reversed(theirs):
        kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept


def _entries(tb: TracebackType | None) -> Iterator[TracebackType]:
    while tb is not None:
        yield tb
        tb = tb.tb_next


def _module_name(entry: TracebackType) -> str:
    return str(entry.tb_frame.f_globals.get("__name__"))


def _own_frames(tb: TracebackType | None) -> tuple[tuple[str, int], ...]:
    """Return the frames of the job's own code: functions that travelled by value have no module's globals."""
    own = (entry for entry in _entries(tb) if entry.tb_frame.f_globals.get("__spec__") is None)
    return tuple(
        (_name(entry.tb_frame.f_code.co_name), entry.tb_lineno or 0) for entry in itertools.islice(own, MAX_FRAMES)
    )
