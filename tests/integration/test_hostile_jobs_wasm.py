"""The portable sandbox against jobs that mean harm. Judged by canaries outside, not by what the sandbox says."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio

from ec262.adapters.sandbox.wasm.wasm_sandbox import WasmSandbox
from ec262.domain.errors import SandboxError
from ec262.domain.work.outcome import decode_outcome
from ec262.domain.work.work import Computed, Limits, Work
from tests.canaries import Scene
from tests.hostile_jobs import PAYLOADS
from tests.hostile_jobs.guests import ATTACKS
from tests.portable import needs_guest
from tests.processes import children
from tests.sandbox_jobs import assert_serves, map_work, pairs_of

pytestmark = [needs_guest, pytest.mark.asyncio(loop_scope="module")]

LIMITS = Limits(cpu_s=0.3, wall_s=5, memory_bytes=128 << 20, output_bytes=1 << 20, log_bytes=1 << 14)
AT_ONCE = 3

NATIVE = {"libc", "call", "ctypes", "mmap"}
"""What a job needs for machine code or a call to the kernel, and a guest has nothing of."""

Result = Computed | SandboxError


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[WasmSandbox]:
    box = WasmSandbox()
    await box.start()
    yield box
    await box.close()


async def attack(sandbox: WasmSandbox, scene: Scene, works: Iterable[Work], limits: Limits = LIMITS) -> list[Result]:
    """Run hostile jobs, see that nothing was harmed; return what came of each, a result or an error."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def run(work: Work) -> Result:
        async with turns:
            started = time.monotonic()
            try:
                return await sandbox.run(work, limits)
            except SandboxError as error:
                return error
            finally:
                assert time.monotonic() - started < limits.wall_s + 2

    results = await asyncio.gather(*map(run, works))
    assert scene.harm("\n".join(map(told, results))) == []
    assert await children_left(scene) == 1, "processes were left"
    await assert_serves(sandbox)
    return results


def told(result: Result) -> str:
    """All that a job has sent back, as text."""
    if isinstance(result, SandboxError):
        return str(result)
    text = result.outcome.decode(errors="replace") + result.log.decode()
    with suppress(Exception):
        text += str(decode_outcome(result.outcome))
    return text


_strangers: set[int] = set()
"""Children of the tests' process that are none of the sandbox's: a database server, say."""


@pytest.fixture(scope="module", autouse=True)
def strangers() -> None:
    """Know who was there before."""
    _strangers.update(children(os.getpid()))


async def children_left(scene: Scene) -> int:
    """How many processes this one has, soon, beside the canaries': one waits for the next task."""
    mine: list[int] = []
    for _ in range(300):
        mine = [pid for pid in children(os.getpid()) if pid not in {scene.victim.pid, *_strangers}]
        if len(mine) == 1:
            break
        await asyncio.sleep(0.01)
    return len(mine)


def is_native(act: Callable[..., Any]) -> bool:
    """Whether a payload does its harm by machine code, or by a call to the kernel itself."""
    code = act.__code__
    return bool(NATIVE.intersection((*code.co_names, *code.co_consts)))


def work_of(act: Callable[..., Any], scene: Scene) -> Work:
    return map_work(act, [("row", scene.target(zygote=scene.victim.pid))])


PURE = {name: payload.act for name, payload in PAYLOADS.items() if not is_native(payload.act)}


@pytest.mark.parametrize("family", sorted({PAYLOADS[name].family for name in PURE}))
async def test_they_do_no_harm_and_the_next_job_is_served(sandbox: WasmSandbox, scene: Scene, family: str) -> None:
    acts = [act for name, act in PURE.items() if PAYLOADS[name].family == family]
    await attack(sandbox, scene, [work_of(act, scene) for act in acts])


async def test_there_is_no_machine_code_and_no_kernel_to_call(sandbox: WasmSandbox, scene: Scene) -> None:
    acts = {name: payload.act for name, payload in PAYLOADS.items() if is_native(payload.act)}

    def try_all(_key: str, target: Any) -> Iterator[tuple[str, str]]:
        for name, act in acts.items():
            try:
                yield name, str(act(name, target))
            except Exception as error:  # noqa: BLE001 - all that it can be is told
                yield name, f"{type(error).__name__}: {error}"

    assert len(acts) > 30
    (result,) = await attack(sandbox, scene, [work_of(try_all, scene)])
    assert isinstance(result, Computed)
    for name, came in pairs_of(result):
        assert came.startswith(("ModuleNotFoundError: module ", "PermissionError: ")), (name, came)


async def test_harm_to_the_guest_stays_inside_it(sandbox: WasmSandbox, scene: Scene) -> None:
    results = await attack(sandbox, scene, [work_of(act, scene) for act in ATTACKS.values()])
    ends = {name: told(result) for name, result in zip(ATTACKS, results, strict=True)}
    assert not any("\x1b" in str(result) for result in results), "a terminal would get commands"
    for name, end in EXPECTED.items():
        assert end in ends[name], name


EXPECTED = {
    "walk_out_by_every_path": "Operation not permitted",
    "ask_the_clock_for_ever": "cpu limit exceeded: 0.3 s of processor time in the mapper at the row with key",
    "announce_an_endless_result": "output limit exceeded: a result of 18446744073709551615 bytes",
    "announce_a_huge_log": "it broke the sandbox's protocol",
    "claim_each_limit": "it broke the sandbox's protocol",
    "claim_a_memory_limit_with_a_terminals_commands": "memory limit exceeded: 128 MiB of memory",
    "flood_the_errors": "exit status 3",
    "jump_to_nowhere": "Segmentation fault",
}
