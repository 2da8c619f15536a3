"""What a job prints, kept up to a limit."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

_CUT = b"\n[the log is cut here]\n"


class Log(io.RawIOBase):
    """Takes what is written, keeps the first ``limit`` bytes in memory and forgets the rest."""

    def __init__(self, limit: int, copy: memoryview | None = None) -> None:
        """``copy`` is memory of ``limit`` bytes in which all is kept, too, for who looks on from another process."""
        super().__init__()
        self._limit = limit
        self._copy = copy
        self._printed = bytearray()
        self._end = b""

    def writable(self) -> bool:
        """Yes: this is what makes it a place to print to."""
        return True

    def write(self, data: Any, /) -> int:
        """Keep what there is room for; one byte more is kept to know that something was cut."""
        start = len(self._printed)
        self._printed += data[: max(0, self._limit + 1 - start)]
        if self._copy is not None:
            end = min(len(self._printed), self._limit)
            self._copy[start:end] = self._printed[start:end]
        return len(data)

    def end_with(self, text: str) -> None:
        """Put a text after all that is printed. Half of the room is its own, so that prints cannot push it out."""
        self._end = _middle_out(text.encode(errors="backslashreplace"), self._limit // 2)

    def content(self) -> bytes:
        """Return the log: UTF-8, at most ``limit`` bytes."""
        room = self._limit - len(self._end)
        printed = bytes(self._printed)
        if len(printed) > room:
            printed = (printed[: max(0, room - len(_CUT))] + _CUT)[:room]
        return printed + self._end


@contextlib.contextmanager
def printing_to(log: Log) -> Iterator[None]:
    """Have all that Python code prints, to standard output or error, go to the log."""
    text = io.TextIOWrapper(
        io.BufferedWriter(log), encoding="utf-8", errors="backslashreplace", newline="\n", line_buffering=True
    )
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        yield
    with contextlib.suppress(ValueError):  # the job has closed it
        text.flush()


def _middle_out(data: bytes, most: int) -> bytes:
    """Cut out the middle: a traceback's first and last lines tell the most."""
    if len(data) <= most:
        return data
    head = max(0, most - len(_CUT)) // 2
    tail = max(0, most - len(_CUT) - head)
    return (data[:head] + _CUT + data[len(data) - tail :])[:most]
