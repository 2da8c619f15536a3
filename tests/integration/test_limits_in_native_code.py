"""A limit that is hit where Python code cannot tell: the worker knows the row all the same."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import pytest_asyncio

from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.domain.errors import SandboxCrashed, SandboxLimitExceeded
from ec262.domain.work.work import Limits
from tests.sandbox_jobs import assert_serves, map_work, reduce_work

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox needs Linux"),
    pytest.mark.asyncio(loop_scope="module"),
]

ROWS = [("a", [1]), ("b\n", [1]), ("c", [1])]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[LinuxSandbox]:
    box = LinuxSandbox()
    await box.start()
    yield box
    await box.close()


def count_for_ever(key: Any, value: Any) -> Iterable[tuple[Any, Any]]:
    if key == "b\n":
        sum(itertools.repeat(1))  # hears no signal
    yield key, value


def number_for_ever(key: Any) -> int:
    list(count_for_ever(key, None))
    return 0


@pytest.mark.parametrize(
    ("limits", "limit", "told"),
    [
        (Limits(wall_s=0.3), "wall", "0.3 s of time"),
        (Limits(cpu_s=0.3), "cpu", "0.3 s of processor time"),
    ],
)
async def test_function_and_row_are_reported(sandbox: LinuxSandbox, limits: Limits, limit: str, told: str) -> None:
    for function, work in (
        ("mapper", map_work(count_for_ever, ROWS)),
        ("combiner", map_work(lambda key, value: [(key, value)], ROWS, combiner=count_for_ever)),
        ("partitioner", map_work(lambda key, value: [(key, value)], ROWS, partitioner=number_for_ever)),
        ("reducer", reduce_work(count_for_ever, ROWS)),
    ):
        if limit == "cpu" and function != "mapper":
            continue  # the kernel's limit is in whole seconds: one is enough
        began = time.monotonic()
        with pytest.raises(SandboxLimitExceeded) as caught:
            await sandbox.run(work, limits)
        assert (caught.value.limit, caught.value.detail) == (
            limit,
            f"{told} in the {function} at the row with key 'b\\n'",
        )
        assert time.monotonic() - began < 4
    await assert_serves(sandbox)


async def test_a_crash_is_reported_with_its_row(sandbox: LinuxSandbox) -> None:
    def crash(key: str, value: Any) -> Iterable[tuple[Any, Any]]:
        if key == "c":
            os.abort()
        yield key, value

    for function, work in (
        ("mapper", map_work(crash, ROWS)),
        (
            "partitioner",
            map_work(lambda key, value: [(key, value)], ROWS, partitioner=lambda key: len([*crash(key, 0)])),
        ),
    ):
        told = rf"crashed its process \(SIG\w+\), in the {function} at the row with key 'c'"
        with pytest.raises(SandboxCrashed, match=told):
            await sandbox.run(work, Limits(wall_s=5))


async def test_after_the_last_row_and_while_loading(sandbox: LinuxSandbox) -> None:
    class Slow:
        def __reduce__(self) -> Any:
            return sum, (range(10**13),)

    with pytest.raises(SandboxLimitExceeded, match=r"0\.2 s of time while the job was loaded"):
        await sandbox.run(map_work(lambda _key, _value: [], [(1, 1)], combiner=Slow()), Limits(wall_s=0.2))  # type: ignore[arg-type]  # pickles as a call
