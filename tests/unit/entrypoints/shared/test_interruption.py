"""SIGTERM as Ctrl-C: where it is let in, and where it is put off."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType

import pytest

from ec262.entrypoints.shared.interruption import (
    Terminated,
    ctrl_c_cancels,
    exit_status,
    sigterm_cancels,
    terminated_as_interrupted,
)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    interrupt, terminate = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGINT, interrupt)
    assert signal.getsignal(signal.SIGTERM) == terminate


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def wait_for_sigterm() -> None:
    terminate()
    pytest.fail("it went on")


@pytest.mark.parametrize("on_interrupt", [signal.default_int_handler, signal.SIG_IGN, signal.SIG_DFL])
def test_ordinary_code_is_left_at_once(on_interrupt: signal.Handlers) -> None:
    signal.signal(signal.SIGINT, on_interrupt)
    with pytest.raises(Terminated), terminated_as_interrupted():
        wait_for_sigterm()


def test_the_exit_status_tells_which_signal_it_was() -> None:
    assert exit_status(KeyboardInterrupt()) == 130
    assert exit_status(Terminated()) == 143


def test_ctrl_c_stays_what_it_is() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt) as interrupt, terminated_as_interrupted():
        signal.raise_signal(signal.SIGINT)
    assert type(interrupt.value) is KeyboardInterrupt


@pytest.mark.parametrize("on_interrupt", [signal.default_int_handler, signal.SIG_IGN])
def test_an_event_loop_comes_to_its_end_first(on_interrupt: signal.Handlers) -> None:
    signal.signal(signal.SIGINT, on_interrupt)
    steps = []

    async def work() -> None:
        try:
            terminate()
            steps.append("not torn")
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    async def result(task: asyncio.Task[None]) -> None:
        await task

    def run() -> None:
        with asyncio.Runner() as runner:
            task = runner.get_loop().create_task(work())
            with sigterm_cancels(task.cancel):
                runner.run(result(task))

    with pytest.raises(Terminated), terminated_as_interrupted():
        run()
    assert steps == ["not torn", "cleaned up"]


def test_the_second_does_not_wait() -> None:
    calls: list[str] = []

    def twice() -> None:
        with sigterm_cancels(lambda: calls.append("cancel")):
            terminate()
            wait_for_sigterm()

    with pytest.raises(Terminated), terminated_as_interrupted():
        twice()
    assert calls == ["cancel"]


def test_it_is_let_in_again_where_the_loop_has_ended() -> None:
    def run() -> None:
        with sigterm_cancels(lambda: pytest.fail("there is nothing to cancel")):
            pass
        wait_for_sigterm()

    with pytest.raises(Terminated), terminated_as_interrupted():
        run()


def test_a_loop_of_the_users_own_is_interrupted_as_asyncio_does_it() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    steps = []

    async def users() -> None:
        try:
            terminate()
            steps.append("not torn")
            await asyncio.sleep(60)
        finally:
            steps.append("cleaned up")

    with pytest.raises(Terminated), terminated_as_interrupted():
        asyncio.run(users())
    assert steps == ["not torn", "cleaned up"]


def test_a_loop_that_handles_ctrl_c_by_itself_hears_of_it() -> None:
    async def users() -> None:
        heard = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, heard.set)
        terminate()
        await asyncio.wait_for(heard.wait(), 10)

    with terminated_as_interrupted():
        asyncio.run(users())


def test_a_foreman_does_not_begin_a_job_with_a_worker_it_caught() -> None:
    begun = []

    def run() -> None:
        with suppress(Terminated):
            terminate()
        with sigterm_cancels(lambda: None):
            begun.append("would be paid for, and its result thrown away")

    with pytest.raises(Terminated), terminated_as_interrupted():
        run()
    assert begun == []


def test_a_sigterm_that_is_the_users_is_left_alone() -> None:
    calls: list[int] = []

    def users(number: int, _frame: FrameType | None) -> None:
        calls.append(number)

    before = signal.signal(signal.SIGTERM, users)
    try:
        with sigterm_cancels(lambda: pytest.fail("the job goes on")):
            terminate()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert calls == [signal.SIGTERM]


def test_a_job_in_a_thread_does_not_keep_the_main_thread_from_hearing_of_it() -> None:
    begun, ended = threading.Event(), threading.Event()

    def job() -> None:
        with sigterm_cancels(lambda: pytest.fail("the main thread's business")):
            begun.set()
            ended.wait(10)

    def run() -> None:
        thread = threading.Thread(target=job)
        thread.start()
        begun.wait(10)
        try:
            wait_for_sigterm()
        finally:
            ended.set()
            thread.join()

    with pytest.raises(Terminated), terminated_as_interrupted():
        run()


def test_ctrl_c_reaches_what_keeps_a_loop_of_the_users_own_from_its_turn() -> None:
    calls: list[str] = []

    def users(_number: int, _frame: FrameType | None) -> None:
        calls.append("the loop's")

    signal.signal(signal.SIGINT, users)
    with ctrl_c_cancels(lambda: calls.append("cancel")):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is users
    assert calls == ["cancel", "the loop's"]


@pytest.mark.parametrize("on_interrupt", [signal.default_int_handler, signal.SIG_IGN])
def test_where_no_loop_takes_ctrl_c_it_is_left_as_it_is(on_interrupt: signal.Handlers) -> None:
    signal.signal(signal.SIGINT, on_interrupt)
    with ctrl_c_cancels(lambda: pytest.fail("nobody asked for it")):
        assert signal.getsignal(signal.SIGINT) is on_interrupt
