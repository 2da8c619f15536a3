"""Reads the log of a failed task: what its functions printed, followed by Python's traceback.

The log comes from one worker, is not verified and may contain anything. It is only shown to people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

import attrs

HEADER = "Traceback (most recent call last):\n"

_LINKS = (
    "\nThe above exception was the direct cause of the following exception:\n\n",
    "\nDuring handling of the above exception, another exception occurred:\n\n",
)
"""The text between two tracebacks of one chain."""

_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>[0-9]{1,9}), in (?P<function>.+)')

MAX_MESSAGE_CHARS = 500


@attrs.frozen(kw_only=True)
class Frame:
    """A frame of a traceback; ``source`` is its source line, if the worker had it."""

    file: str
    line: int
    function: str
    source: str = ""


@attrs.frozen(kw_only=True)
class TaskLog:
    """``printed`` is what the functions printed. ``frames`` are those of the last traceback, outermost first.
    ``message`` is the first line of the exception's text, ``rest`` the remaining lines. ``causes`` are the tracebacks
    chained to it. Each is empty if the log does not contain it."""

    printed: str = ""
    causes: str = ""
    frames: tuple[Frame, ...] = ()
    message: str = ""
    rest: str = ""


def read_task_log(text: str, exception: str) -> TaskLog:
    """Read the log of a task that raised an exception with this qualified type name."""
    start = text.rfind(f"\n{HEADER}") + 1
    has_traceback = text.startswith(HEADER, start)
    lines = text[start:].splitlines()
    number = _line_of(lines, exception, after_frames=has_traceback)
    if number is None:
        return TaskLog(printed=text)
    first = _start_of_chain(text, start) if has_traceback else start
    message = lines[number].partition(": ")[2]
    return TaskLog(
        printed=text[:first] if has_traceback else _joined(lines[:number]),
        causes=text[first:start],
        frames=_frames(lines[:number]) if has_traceback else (),
        message=message if len(message) <= MAX_MESSAGE_CHARS else f"{message[:MAX_MESSAGE_CHARS]}...",
        rest=_joined(lines[number + 1 :]),
    )


def _line_of(lines: list[str], exception: str, *, after_frames: bool) -> int | None:
    """Return the line that names the exception: the first one after the frames, or the last one if there are none."""
    names = re.compile(rf"(?:[\w.]+\.)?{re.escape(exception)}(?:: .*)?")
    found = [number for number, line in enumerate(lines) if names.fullmatch(line)]
    if not found:
        return None
    return found[0] if after_frames else found[-1]


def _start_of_chain(text: str, start: int) -> int:
    """Return where the first traceback begins, in the chain whose last traceback begins at ``start``."""
    while text[:start].endswith(_LINKS):
        before = text[:start].rfind(HEADER)
        if before < 0 or (before > 0 and text[before - 1] != "\n"):
            break
        start = before
    return start


def _frames(lines: Iterable[str]) -> tuple[Frame, ...]:
    frames: list[Frame] = []
    for line, following in pairwise([*lines, ""]):
        match = _FRAME.fullmatch(line)
        if match:
            source = following.strip() if following.startswith("    ") else ""
            frames.append(Frame(file=match["file"], line=int(match["line"]), function=match["function"], source=source))
    return tuple(frames)


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
