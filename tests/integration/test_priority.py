"""Niceness: of the processes that compute, not of the worker."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ec262.adapters.machine.processes import Priority
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from tests.sandbox_jobs import LIMITS, map_work, pairs_of, zygote_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox needs Linux")

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
HAS_AUTOGROUP = Path("/proc/self/autogroup").exists()


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen(SLEEP, start_new_session=True) as process:
        yield process.pid
        process.kill()


def autogroup_nice(pid: int) -> int:
    return int(Path(f"/proc/{pid}/autogroup").read_text().split()[-1])


def test_a_process_and_its_session_give_way(sleeper: int) -> None:
    priority = Priority(sleeper)
    priority.lower(7)
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 7
    assert not HAS_AUTOGROUP or autogroup_nice(sleeper) == 7
    priority.lower(3)
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 7
    priority.close()
    priority.close()
    priority.lower(8)  # the process still, its session no more
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 8
    assert not HAS_AUTOGROUP or autogroup_nice(sleeper) == 7


def test_a_process_that_is_gone_is_an_os_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        with pytest.raises(ProcessLookupError):
            Priority(process.pid).lower(5)


def test_many_at_once_are_each_heard() -> None:
    """The kernel takes one such wish of an ordinary user's in a tenth of a second."""
    started = [subprocess.Popen(SLEEP, start_new_session=True) for _ in range(3)]
    try:
        for process in started:
            priority = Priority(process.pid)
            priority.lower(9)
            priority.close()
        assert {autogroup_nice(process.pid) for process in started if HAS_AUTOGROUP} <= {9}
    finally:
        for process in started:
            process.kill()
            process.wait()


async def test_zygote_and_children_give_way_and_the_worker_does_not() -> None:
    def tell(key: Any, _value: Any) -> Iterable[tuple[Any, Any]]:
        yield key, 1

    ours = os.getpriority(os.PRIO_PROCESS, 0)
    box = LinuxSandbox(nice=11)
    await box.start()
    try:
        assert os.getpriority(os.PRIO_PROCESS, zygote_of(box)) == 11
        assert not HAS_AUTOGROUP or autogroup_nice(zygote_of(box)) == 11
        os.kill(zygote_of(box), 9)  # another one takes its place
        assert pairs_of(await box.run(map_work(tell), LIMITS)) == [("row", 1)]
        assert os.getpriority(os.PRIO_PROCESS, zygote_of(box)) == 11
    finally:
        await box.close()
    assert os.getpriority(os.PRIO_PROCESS, 0) == ours
