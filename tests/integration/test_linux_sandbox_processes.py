"""The Linux sandbox's processes, and what it says where it cannot be."""

from __future__ import annotations

import asyncio
import os
import platform
import pwd
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ec262.adapters.sandbox.linux import zygote
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.domain.errors import SandboxBroken, SandboxCrashed, SandboxLimitExceeded, SandboxUnavailable
from ec262.domain.work.work import Limits
from tests.canaries import has, session_of
from tests.compile_policy import compile_policy
from tests.sandbox_jobs import (
    LIMITS,
    assert_serves,
    count_words,
    environment,
    is_busy,
    is_idle,
    map_work,
    served,
    sleep,
    zygote_of,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox needs Linux"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[LinuxSandbox]:
    async with served() as box:
        yield box


# --- processes --------------------------------------------------------------------------------------------------------


async def test_cancellation_kills_the_child(sandbox: LinuxSandbox) -> None:
    run = asyncio.create_task(sandbox.run(map_work(sleep), LIMITS))
    assert await is_busy(sandbox)
    children = session_of(zygote_of(sandbox))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await is_idle(sandbox)
    assert children - session_of(zygote_of(sandbox))


async def test_cancellation_at_any_moment_leaves_nothing(sandbox: LinuxSandbox) -> None:
    work = map_work(count_words, [(1, "x y " * 100_000)])
    for delay_ms in range(0, 30, 2):
        run = asyncio.create_task(sandbox.run(work, LIMITS))
        await asyncio.sleep(delay_ms / 1000)
        run.cancel()
        await asyncio.wait([run])
    assert await is_idle(sandbox)
    await assert_serves(sandbox)


async def test_no_descriptor_is_leaked(sandbox: LinuxSandbox) -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    await assert_serves(sandbox)
    assert await is_idle(sandbox)
    before = opened()
    for _ in range(5):
        await assert_serves(sandbox)
        with pytest.raises(SandboxLimitExceeded):
            await sandbox.run(map_work(sleep), Limits(wall_s=0.02))
        with pytest.raises(SandboxCrashed):
            await sandbox.run(map_work(lambda _key, _value: os._exit(1)), LIMITS)
    assert await is_idle(sandbox)
    await asyncio.sleep(0.1)  # the last handles are closed when the loop gets to it
    assert opened() <= before


async def test_a_dead_zygote_is_replaced(sandbox: LinuxSandbox) -> None:
    first = zygote_of(sandbox)
    run = asyncio.create_task(sandbox.run(map_work(sleep), LIMITS))
    assert await is_busy(sandbox)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(SandboxBroken, match="own process ended"):
        await run
    await assert_serves(sandbox)
    assert zygote_of(sandbox) != first
    assert await has(first, 0)


async def test_a_zygote_that_cannot_be_replaced_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    box = LinuxSandbox()
    await box.start()
    try:
        assert await is_idle(box)
        os.kill(zygote_of(box), signal.SIGKILL)
        assert await has(zygote_of(box), 0)
        monkeypatch.setattr(sys, "executable", "/bin/false")
        for _ in range(2):
            with pytest.raises(SandboxBroken, match=r"died and cannot be started again: .*before it was ready"):
                await box.run(map_work(count_words, []), LIMITS)
        monkeypatch.undo()
        await assert_serves(box)
    finally:
        await box.close()


async def test_a_user_who_may_not_start_processes_is_reported() -> None:
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, before[1]))
    try:
        with pytest.raises(SandboxUnavailable, match=r"no process could be started for the task|cannot be started"):
            await LinuxSandbox().start()
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, before)


async def test_a_worker_without_descriptors_is_reported_and_goes_on(sandbox: LinuxSandbox) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    work = map_work(count_words, [])
    assert sandbox._spare is not None
    sandbox._spare.close()
    assert await has(zygote_of(sandbox), 1)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        with pytest.raises(SandboxBroken, match=r"no process could be started for the task: .*Too many open files"):
            await sandbox.run(work, LIMITS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    await assert_serves(sandbox)


async def test_a_closed_sandbox_runs_nothing() -> None:
    box = LinuxSandbox()
    await box.start()
    zygote_id = zygote_of(box)
    await assert_serves(box)
    assert await is_idle(box)
    run = asyncio.create_task(box.run(map_work(sleep), LIMITS))
    assert await is_busy(box)
    await box.close()
    with pytest.raises(SandboxBroken):
        await run
    with pytest.raises(SandboxBroken, match="not open"):
        await box.run(map_work(count_words, []), LIMITS)
    assert not session_of(zygote_id)


OWNER = """
import asyncio, sys
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from tests.sandbox_jobs import LIMITS, map_work, sleep, zygote_of

async def main():
    sandbox = LinuxSandbox()
    await sandbox.start()
    tasks = [asyncio.create_task(sandbox.run(map_work(sleep), LIMITS)) for _ in range(2)]
    await asyncio.sleep(0.1)
    print(zygote_of(sandbox), flush=True)
    await asyncio.gather(*tasks)

asyncio.run(main())
"""


async def test_an_owner_that_is_killed_leaves_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, env=environment()) as owner:  # noqa: ASYNC220 - nothing else goes on
        assert owner.stdout is not None
        zygote_id = int(owner.stdout.readline())
        assert await has(zygote_id, 3)
        assert zygote_id not in session_of(os.getsid(owner.pid)), "a terminal's Ctrl-C must not reach it"
        owner.kill()
    assert await has(zygote_id, 0)


async def test_root_becomes_nobody(sandbox: LinuxSandbox) -> None:
    status = (Path("/proc") / str(zygote_of(sandbox)) / "status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in status)
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.getuid()
    assert fields["Uid"].split() == [str(user)] * 4
    assert {fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1"
    if os.geteuid() == 0:
        assert fields["Groups"].strip() == ""


# --- where there is no sandbox ----------------------------------------------------------------------------------------


async def test_another_system_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxUnavailable, match="needs Linux, and this is darwin"):
        await LinuxSandbox().start()


async def test_a_python_that_does_not_start_is_reported_with_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote, "_BOOT", Path("/nonexistent/boot.py"))
    with pytest.raises(
        SandboxUnavailable, match=r"ended before it was ready: .*can't open file '/nonexistent/boot.py'"
    ):
        await LinuxSandbox().start()


async def test_one_that_never_gets_ready_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lazy = tmp_path / "boot.py"
    lazy.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(zygote, "_BOOT", lazy)
    monkeypatch.setattr(zygote, "_PATIENCE_S", 0.1)
    with pytest.raises(SandboxUnavailable, match=r"not ready after 0\.2 s"):
        await LinuxSandbox(start_timeout_s=0.2).start()


async def test_a_sandbox_with_a_hole_is_found_by_its_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_all = b"\x06\x00\x00\x00\x00\x00\xff\x7f"
    monkeypatch.setattr(zygote, "seccomp_program", lambda: allow_all)
    with pytest.raises(SandboxUnavailable, match="does not"):
        await LinuxSandbox().start()


@pytest.mark.parametrize("call", ["open a file", "open a socket"])
async def test_each_hole_is_named(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    names = {"open a file": "getdents64", "open a socket": "socket"}
    with_holes = compile_policy(platform.machine(), [names[call], "openat"])
    monkeypatch.setattr(zygote, "seccomp_program", lambda: with_holes)
    with pytest.raises(SandboxUnavailable, match=f"does not hold on this machine: a job could .*{call}"):
        await LinuxSandbox().start()


CONFINED = """
import asyncio, errno, seccompy
filter = seccompy.Filter()
filter.errno("seccomp", errno.{error})
filter.errno("prctl", errno.{error}, args={{0: 22}})
filter.load()
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
asyncio.run(LinuxSandbox().start())
"""


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "EINVAL"])
async def test_a_machine_without_seccomp_is_reported(error: str) -> None:
    script = CONFINED.format(error=error)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment(), check=False)  # noqa: ASYNC221 - nothing else goes on
    assert done.returncode == 1
    last = done.stderr.decode().splitlines()[-1]
    assert "SandboxUnavailable" in last
    assert "seccomp, on x86-64 or arm64 is missing or forbidden. Use a kernel built with CONFIG_SECCOMP_FILTER" in last
