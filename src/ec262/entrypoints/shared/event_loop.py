"""Running a coroutine to its end from ordinary code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from ec262.entrypoints.shared.interruption import ctrl_c_cancels, sigterm_cancels

T = TypeVar("T")


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine from ordinary code, even if an event loop is already running, as in a notebook."""
    runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
    loop = runner.get_loop()
    task = loop.create_task(work)

    async def result() -> T:
        return await task

    def run() -> T:
        with runner:
            return runner.run(result())

    def cancel() -> None:
        with suppress(RuntimeError):  # it has just ended
            loop.call_soon_threadsafe(task.cancel)

    with sigterm_cancels(cancel):
        return _run_in_thread(run, cancel) if _is_loop_running() else run()


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_in_thread(run: Callable[[], T], cancel: Callable[[], None]) -> T:
    outcome: list[T] = []
    failure: list[BaseException] = []

    def carry_over() -> None:
        try:
            outcome.append(run())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=carry_over)
    thread.start()
    try:
        with ctrl_c_cancels(cancel):
            thread.join()
    except BaseException:  # Ctrl-C: the job must not outlive its caller
        cancel()
        thread.join()
        raise
    if failure:
        raise failure[0]
    return outcome[0]
