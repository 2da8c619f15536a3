"""The process that forks children, when it cannot do all that this takes."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time

import pytest

from ec262.adapters.sandbox.linux.child import zygote as zygote_module
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.domain.errors import SandboxBroken
from tests.canaries import has
from tests.sandbox_jobs import LIMITS, assert_serves, count_words, is_idle, map_work, spare_was_tried, zygote_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox needs Linux")


class Asleep:
    """In place of what a child does, which would lock the test in."""

    def serve(self, _confinement: object) -> None:
        time.sleep(60)


@pytest.mark.parametrize("call", ["pidfd_open", "send_fds"])
def test_a_child_that_cannot_be_registered_is_killed(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def broken(*_arguments: object) -> None:
        raise OSError("too many open files")

    def descriptors() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - both the same way, and names are enough

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    zygote = zygote_module.Zygote(control=theirs.detach())
    children: list[int] = []
    fork = os.fork

    def noted() -> int:
        pid = fork()
        children.append(pid)
        return pid

    monkeypatch.setattr(zygote_module, "Child", Asleep)
    monkeypatch.setattr(os, "fork", noted)
    monkeypatch.setattr(os if call == "pidfd_open" else socket, call, broken)
    before = descriptors()
    with ours, zygote._control:
        with pytest.raises(OSError, match="too many open files"):
            zygote._fork(1, stream=ours.fileno(), log=-1, memory_bytes=1 << 20, cpu_s=1.0)
        [pid] = children
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert descriptors() == before
        assert not zygote._children


async def test_a_child_that_was_not_started_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    box = LinuxSandbox()
    await box.start()
    try:
        zygote = box._zygote
        assert zygote is not None
        assert await is_idle(box)
        assert box._spare is not None
        box._spare.close()
        assert await has(zygote_of(box), 1)
        monkeypatch.setattr(socket, "send_fds", lambda control, messages, _streams: control.send(messages[0]))
        with pytest.raises(SandboxBroken, match="no process could be started"):
            async with asyncio.timeout(5):
                await box.run(map_work(count_words, []), LIMITS)
        await spare_was_tried(box)  # which fares no better
        assert not zygote._children
        monkeypatch.undo()
        await assert_serves(box)
    finally:
        await box.close()
