"""Work is packed where the link is slow, and only there."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from ec262.domain.foreman.data.memory_budget import MemoryBudget
from ec262.domain.protocol.messages import Message
from ec262.domain.work.packing import unpack
from ec262.domain.work.work import Phase
from ec262.services.foreman.data.job_data import JobData
from ec262.services.foreman.workers import worker_link
from ec262.services.foreman.workers.worker_link import LinkPolicy, WorkerLink
from tests.system import FOREMAN_POLICY, make_job, memory_system, new_job_data
from tests.work_messages import compute_message

TEXT = {number: f"the quick fox {number % 7} and the lazy dog " * 30 for number in range(200)}
WORK = compute_message(rows=bytes(2 << 20))


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("192.0.2.1", False), ("worker.example", False)],
)
def test_a_link_within_the_machine_is_known(host: str, *, local: bool) -> None:
    assert worker_link._is_local(host) is local


class Wire:
    """A connection that takes its time to send."""

    def __init__(self, pause_s: float) -> None:
        self.pause_s = pause_s

    async def send(self, _message: Message, *, timeout_s: float) -> None:
        await asyncio.sleep(self.pause_s)


async def test_a_link_is_thought_slow_until_it_was_measured() -> None:
    wire: Any = Wire(0.0)
    link = WorkerLink(wire, LinkPolicy(release="test"), lambda: None, local=False)
    assert link.is_slow
    await link._send(attrs.evolve(WORK, rows=b"[]"))
    assert link.is_slow, "so little says nothing"
    await link._send(WORK)
    assert not link.is_slow
    wire.pause_s = 0.2
    await link._send(WORK)
    assert link.is_slow
    local = WorkerLink(wire, LinkPolicy(release="test"), lambda: None)
    await local._send(WORK)
    assert not local.is_slow


@pytest.mark.parametrize("local", [True, False])
async def test_the_result_is_the_same_over_a_slow_link(monkeypatch: pytest.MonkeyPatch, *, local: bool) -> None:
    monkeypatch.setattr(worker_link, "_is_local", lambda _host: local)
    packed: list[bytes | None] = []
    pack = JobData.packed

    async def noted(data: JobData, name: Any) -> bytes | None:
        packed.append(await pack(data, name))
        return packed[-1]

    monkeypatch.setattr(JobData, "packed", noted)
    async with memory_system() as system:
        counts = await system.foreman(FOREMAN_POLICY).run(attrs.evolve(make_job(TEXT), map_tasks=3))
    assert counts["quick"] == 200 * 30
    assert any(packed) is not local


async def test_a_task_is_packed_once_for_all_its_workers() -> None:
    data = new_job_data(make_job(TEXT), None, MemoryBudget())
    (name,) = data.cut(Phase.MAP, 1)
    async with data.payload(name) as rows, data.payload(name):
        first, second = await asyncio.gather(data.packed(name), data.packed(name))
        assert first is not None
        assert first is second
        assert unpack(first, len(rows)) == rows
        leaving = asyncio.create_task(data.packed(name))
        await asyncio.sleep(0)
        leaving.cancel()
    few = new_job_data(make_job({"a": "b"}), None, MemoryBudget())
    (name,) = few.cut(Phase.MAP, 1)
    async with few.payload(name):
        assert await few.packed(name) is None
