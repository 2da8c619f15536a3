"""Makes SIGTERM end a command as Ctrl-C does, with the same cleanup.

Imports almost nothing: commands need it before their other imports.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM was received.

    A separate class also preserves the exit status: once a plain KeyboardInterrupt has passed through ``exec`` of a
    string, as in dataclasses, CPython ends the process with SIGINT whatever its status (``pythonrun.c``).
    """


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """Return the exit status of a command by the shell's convention: 128 plus the signal's number."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


class _Handler:
    """The handler of SIGTERM."""

    def __init__(self) -> None:
        self.came = False
        self._cancel: Callable[[], object] | None = None

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        again, self.came = self.came, True
        on_interrupt = signal.getsignal(signal.SIGINT)
        if again:
            raise Terminated
        if self._cancel is not None:
            self._cancel()
        elif callable(on_interrupt) and on_interrupt is not signal.default_int_handler:
            # For example an event loop in the job file, which may learn of the signal from its wakeup descriptor only.
            signal.raise_signal(signal.SIGINT)
        else:
            raise Terminated

    @contextmanager
    def cancelling(self, cancel: Callable[[], object]) -> Iterator[None]:
        if self.came:  # the exception was caught: do not begin anything else
            raise Terminated
        self._cancel = cancel
        try:
            yield
        finally:
            self._cancel = None
            if self.came:
                raise Terminated


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Have SIGTERM raise Terminated in the body. Use it in the main thread only."""
    handler = _Handler()
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if handler.came and not isinstance(interrupt, Terminated):
            raise Terminated from interrupt
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def sigterm_cancels(cancel: Callable[[], object]) -> Iterator[None]:
    """If SIGTERM raises Terminated, have it call ``cancel`` instead, and raise Terminated when the body has ended; a
    second SIGTERM raises it at once.

    For bodies that run an event loop. An exception at an arbitrary point could make the loop lose a callback, and its
    waiter would wait forever; or it could end some task, whose traceback would be shown. asyncio handles Ctrl-C in the
    same way, unless SIGINT is ignored, as it is in a script's background jobs.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if isinstance(handler, _Handler) and threading.current_thread() is threading.main_thread():
        with handler.cancelling(cancel):
            yield
    else:
        yield


@contextmanager
def ctrl_c_cancels(cancel: Callable[[], object]) -> Iterator[None]:
    """If another event loop handles Ctrl-C, have Ctrl-C call ``cancel`` as well: that loop would only react in its next
    turn, after the body has ended."""
    before = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or not callable(before) or before is signal.default_int_handler:
        yield
        return

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        cancel()
        before(number, frame)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
