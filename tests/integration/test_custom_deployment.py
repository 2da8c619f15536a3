"""The custom deployment of the examples: as a user runs it, and its sandbox by itself."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import pytest

from ec262.domain.errors import SandboxCrashed, SandboxLimitExceeded
from ec262.domain.values import canonical
from ec262.domain.work.outcome import Pairs, decode_outcome
from ec262.domain.work.work import Limits, Phase, Work

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_deployment.py"
POEM = """
Humpty Dumpty sat on a wall Humpty Dumpty had a great fall
All the King's horses and all the King's men Couldn't put Humpty together again
"""


def test_prints_the_word_count(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    counts = {word: int(count) for count, word in (line.split() for line in done.stdout.splitlines())}
    assert counts == Counter(POEM.split())
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("custom_deployment", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def spin(_key: object, _value: object) -> Iterator[tuple[str, int]]:
    while True:
        pass


def shout(key: str, value: str) -> Iterator[tuple[str, str]]:
    print("shouting")
    yield key, value.upper()


def work_of(mapper: object) -> Work:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    functions = cloudpickle.dumps({"mapper": mapper})
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    return Work(phase=Phase.MAP, functions=functions, rows=canonical.encode([["a", "b"]]), seed=0)


async def test_computes_an_approved_job(example: ModuleType) -> None:
    work = work_of(shout)
    sandbox = example.ApprovedJobs([hashlib.sha256(work.functions).digest()])
    computed = await sandbox.run(work, Limits())
    assert decode_outcome(computed.outcome) == Pairs(pairs=(("a", "B"),))
    assert computed.log == b"shouting\n"


async def test_refuses_any_other_job(example: ModuleType) -> None:
    sandbox = example.ApprovedJobs([hashlib.sha256(b"another").digest()])
    with pytest.raises(SandboxCrashed, match="approved jobs only"):
        await sandbox.run(work_of(shout), Limits())


async def test_limits_the_output(example: ModuleType) -> None:
    work = work_of(shout)
    sandbox = example.ApprovedJobs([hashlib.sha256(work.functions).digest()])
    with pytest.raises(SandboxLimitExceeded) as caught:
        await sandbox.run(work, Limits(output_bytes=5))
    assert caught.value.limit == "output"


async def started(sandbox: Any) -> asyncio.subprocess.Process:
    while not sandbox._running:  # noqa: ASYNC110 - the example has no event for it
        await asyncio.sleep(0.01)
    process: asyncio.subprocess.Process = next(iter(sandbox._running))
    return process


async def test_limits_the_time_and_leaves_no_process(example: ModuleType) -> None:
    work = work_of(spin)
    sandbox = example.ApprovedJobs([hashlib.sha256(work.functions).digest()])
    running = asyncio.create_task(sandbox.run(work, Limits(wall_s=0.5)))
    process = await started(sandbox)
    with pytest.raises(SandboxLimitExceeded) as caught:
        await running
    assert caught.value.limit == "wall"
    assert process.returncode == -signal.SIGKILL


async def test_cancelling_kills_the_process_first(example: ModuleType) -> None:
    work = work_of(spin)
    sandbox = example.ApprovedJobs([hashlib.sha256(work.functions).digest()])
    running = asyncio.create_task(sandbox.run(work, Limits(wall_s=60)))
    process = await started(sandbox)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert process.returncode == -signal.SIGKILL


async def test_closing_kills_what_runs(example: ModuleType) -> None:
    work = work_of(spin)
    sandbox = example.ApprovedJobs([hashlib.sha256(work.functions).digest()])
    running = asyncio.create_task(sandbox.run(work, Limits(wall_s=60)))
    await started(sandbox)
    await sandbox.close()
    with pytest.raises(SandboxCrashed):
        await running
