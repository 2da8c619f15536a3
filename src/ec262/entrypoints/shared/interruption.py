"""SIGTERM, made to end a command as Ctrl-C does, so that both clean up alike.

Imports next to nothing: commands need it before they import all the rest.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came.

    A kind of its own, which also keeps the exit status: whose plain KeyboardInterrupt once came through ``exec`` of a
    text, as dataclasses use it, is killed by SIGINT in the end, whatever status it wants (CPython's ``pythonrun.c``).
    """


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """Return the status that a command ends with, as shells have it: 128 and the signal's number."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


class _Handler:
    """What SIGTERM does."""

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
            # An event loop of the job file's own, say: it may hear of it by its wakeup descriptor, not the handler.
            signal.raise_signal(signal.SIGINT)
        else:
            raise Terminated

    @contextmanager
    def cancelling(self, cancel: Callable[[], object]) -> Iterator[None]:
        if self.came:  # who caught what it raised then is not to begin anything else
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
    """Have SIGTERM raise Terminated in the body, wherever that is. To be used in the main thread."""
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
    """Where SIGTERM raises Terminated, have it call ``cancel`` instead, and raise Terminated when the body has ended; a
    second SIGTERM raises it at once.

    For bodies that run an event loop. An exception out of nowhere could make it lose a callback, and whoever waits for
    that would wait for ever; or end in the middle of some task, whose traceback is shown then. Of Ctrl-C asyncio keeps
    it free in the same way, but only while that is not ignored, as it is in a script's background jobs.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if isinstance(handler, _Handler) and threading.current_thread() is threading.main_thread():
        with handler.cancelling(cancel):
            yield
    else:
        yield


@contextmanager
def ctrl_c_cancels(cancel: Callable[[], object]) -> Iterator[None]:
    """Where somebody else's event loop takes Ctrl-C, have it call ``cancel``, too: the loop would do something about it
    in its next turn, which does not come before the body has ended."""
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
