from __future__ import annotations

import asyncio
import hashlib
import logging

import attrs
import pytest

from ec262.adapters.memory.result_store import MemoryResultStore
from ec262.domain.errors import DiscoveryUnavailable, SandboxBroken, SandboxCrashed, SandboxLimitExceeded, TaskClosed
from ec262.domain.protocol.messages import MAX_REASON_CHARS, Committed, Failed
from ec262.domain.work.outcome import CRASH, Stopped, decode_outcome
from ec262.domain.work.work import Computed, Limits, Phase, Work
from ec262.domain.work.work_hash import WorkBinding, work_hash
from ec262.services.worker.computer import LEAVING, THREAD_BYTES, WON_WITHOUT, AssignedReplica, Computer
from ec262.services.worker.worker_batches import WorkerBatches
from tests.unit.services.worker.worker_doubles import KEY, RESULT, TASK, Rig

WORK = Work(phase=Phase.MAP, functions=b"f", rows=b"[]", seed=1)
BINDING = WorkBinding(work_hash=work_hash(WORK, Limits()), nonce=bytes(32))


def replica_of(rig: Rig, *, deadline_in_s: float = 60.0) -> AssignedReplica:
    rig.discovery.assign(deadline_in_s=deadline_in_s)
    now = rig.clock()
    return AssignedReplica(
        assignment=rig.discovery.assigned[TASK], deadline=now + deadline_in_s, forgotten_at=now + 3600.0
    )


async def compute(rig: Rig, *, deadline_in_s: float = 60.0, limits: Limits | None = None) -> Committed | Failed:
    return await Computer(rig.ports, WorkerBatches(rig.discovery), rig.policy).compute(
        replica_of(rig, deadline_in_s=deadline_in_s), WORK, limits or Limits(), binding=BINDING
    )


async def test_the_digest_of_the_stored_ciphertext_is_committed() -> None:
    rig = Rig()
    assert await compute(rig) == Committed(task=TASK)
    stored = await rig.results.get(TASK)
    assert stored is not None
    assert rig.discovery.commitments == {TASK: hashlib.sha256(stored.ciphertext).digest()}
    assert not rig.discovery.given_up
    assert rig.cipher.decrypt(stored.ciphertext, key=KEY, task=TASK, label="result", work=BINDING) == RESULT
    assert rig.cipher.decrypt(stored.log, key=KEY, task=TASK, label="log", work=BINDING) == b"hello"


async def test_a_large_result_is_encrypted_in_a_thread_to_the_same_bytes() -> None:
    large = b"x" * (THREAD_BYTES + 1)

    async def act() -> Computed:
        return Computed(outcome=large, log=b"")

    rig = Rig()
    rig.sandbox.act = act
    assert await compute(rig) == Committed(task=TASK)
    stored = await rig.results.get(TASK)
    assert stored is not None
    assert stored.ciphertext == rig.cipher.encrypt(large, key=KEY, task=TASK, label="result", work=BINDING)


async def test_no_task_gets_more_than_the_owner_grants() -> None:
    rig = Rig(limits=Limits(cpu_s=5.0, memory_bytes=1000))
    await compute(rig, limits=Limits(cpu_s=50.0, wall_s=3.0, memory_bytes=10_000))
    [(_, limits)] = rig.sandbox.runs
    assert (limits.cpu_s, limits.wall_s, limits.memory_bytes) == (5.0, 3.0, 1000)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (SandboxBroken("no process"), "no process"),
        (RuntimeError("oops"), "internal error in the worker"),
    ],
)
async def test_trouble_of_the_workers_own_is_a_failure(
    trouble: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def act() -> Computed:
        raise trouble

    rig = Rig()
    rig.sandbox.act = act
    assert await compute(rig) == Failed(task=TASK, reason=reason)
    assert not rig.discovery.commitments
    assert rig.discovery.given_up == [TASK]
    assert ("internal error in this worker" in caplog.text) == isinstance(trouble, RuntimeError)


@pytest.mark.parametrize(
    ("trouble", "by", "told"),
    [
        (SandboxLimitExceeded("memory", "12 MiB; it last printed SECRET"), "memory", "12 MiB; it last printed SECRET"),
        (SandboxCrashed("exit status 3; it last printed SECRET"), CRASH, "exit status 3; it last printed SECRET"),
    ],
)
async def test_limits_and_crashes_are_results_and_what_the_job_printed_is_encrypted(
    trouble: Exception, by: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def act() -> Computed:
        raise trouble

    caplog.set_level(logging.DEBUG, "ec262")
    rig = Rig()
    rig.sandbox.act = act
    reply = await compute(rig)
    assert reply == Committed(task=TASK)
    assert "SECRET" not in repr(reply) + caplog.text
    assert rig.discovery.stopped == [TASK]
    stored = await rig.results.get(TASK)
    assert stored is not None
    outcome = rig.cipher.decrypt(stored.ciphertext, key=KEY, task=TASK, label="result", work=BINDING)
    assert decode_outcome(outcome) == Stopped(by=by)
    assert rig.cipher.decrypt(stored.log, key=KEY, task=TASK, label="log", work=BINDING) == told.encode()


async def test_a_long_reason_is_cut() -> None:
    async def act() -> Computed:
        raise SandboxBroken("x" * 5000)

    rig = Rig()
    rig.sandbox.act = act
    failed = await compute(rig)
    assert isinstance(failed, Failed)
    assert len(failed.reason) == MAX_REASON_CHARS


async def test_nothing_is_committed_that_could_not_be_delivered() -> None:
    rig = Rig(results=MemoryResultStore(capacity_bytes=10))
    failed = await compute(rig)
    assert isinstance(failed, Failed)
    assert "full" in failed.reason
    assert not rig.discovery.commitments


async def test_a_key_of_the_wrong_size_is_reported() -> None:
    rig = Rig()
    rig.cipher.key_bytes = 16
    failed = await compute(rig)
    assert isinstance(failed, Failed)
    assert "the discovery service is configured for a different cipher" in failed.reason


async def test_the_commitment_survives_an_absence_of_discovery() -> None:
    rig = Rig()
    rig.discovery.troubles["commit"] = [DiscoveryUnavailable("away")] * 3
    assert await compute(rig) == Committed(task=TASK)
    assert rig.discovery.calls.count("commit") == 4


async def test_the_deadline_ends_the_waiting_for_discovery() -> None:
    rig = Rig()
    rig.discovery.troubles["commit"] = [DiscoveryUnavailable("away")] * 10_000
    failed = await compute(rig, deadline_in_s=0.05)
    assert isinstance(failed, Failed)
    assert "did not answer" in failed.reason


async def test_a_refused_commitment_is_reported() -> None:
    rig = Rig()
    rig.discovery.troubles["commit"] = [TaskClosed("the deadline passed")]
    assert await compute(rig) == Failed(task=TASK, reason="the deadline passed")


@pytest.mark.parametrize("trouble", [DiscoveryUnavailable("away"), TaskClosed("the deadline passed")])
async def test_giving_up_is_a_courtesy_that_may_fail(trouble: Exception) -> None:
    rig = Rig(results=MemoryResultStore(capacity_bytes=10))
    rig.discovery.troubles["give_up"] = [trouble]
    assert isinstance(await compute(rig), Failed)
    assert rig.discovery.calls == ["give_up"]


async def test_nothing_is_computed_past_the_deadline() -> None:
    cancelled = False

    async def act() -> Computed:
        nonlocal cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled = True
            raise
        raise AssertionError

    rig = Rig()
    rig.sandbox.act = act
    failed = await compute(rig, deadline_in_s=0.05)
    assert failed == Failed(task=TASK, reason="the task's deadline passed while it was being computed")
    assert cancelled


async def test_slots_are_kept_to_and_waiting_ends_at_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    release = asyncio.Event()

    async def act() -> Computed:
        await release.wait()
        return Computed(outcome=RESULT, log=b"")

    caplog.set_level(logging.INFO, "ec262")
    rig = Rig(slots=1)
    rig.sandbox.act = act
    computer = Computer(rig.ports, WorkerBatches(rig.discovery), rig.policy)
    first = asyncio.create_task(computer.compute(replica_of(rig), WORK, Limits(), binding=BINDING))
    await asyncio.sleep(0)
    late = await computer.compute(replica_of(rig, deadline_in_s=0.05), WORK, Limits(), binding=BINDING)
    assert late == Failed(task=TASK, reason="the task's deadline passed while it waited for a free slot")
    release.set()
    assert await first == Committed(task=TASK)
    assert len(rig.sandbox.runs) == 1
    assert KEY.hex() not in caplog.text


async def test_a_task_that_waits_can_be_dropped_and_one_that_runs_cannot() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def act() -> Computed:
        entered.set()
        await release.wait()
        return Computed(outcome=RESULT, log=b"")

    rig = Rig(slots=1)
    rig.sandbox.act = act
    computer = Computer(rig.ports, WorkerBatches(rig.discovery), rig.policy)
    runs, waits = replica_of(rig), replica_of(rig)
    waits = attrs.evolve(waits, assignment=attrs.evolve(waits.assignment, task="task-0002"))
    running = asyncio.create_task(computer.compute(runs, WORK, Limits(), binding=BINDING))
    await entered.wait()
    waiting = asyncio.create_task(computer.compute(waits, WORK, Limits(), binding=BINDING))
    await asyncio.sleep(0)
    assert (computer.waits(TASK), computer.waits("task-0002")) == (False, True)
    for task in (TASK, "task-0002", "task-0002", "unknown"):
        computer.drop(task, WON_WITHOUT)
    assert await waiting == Failed(task="task-0002", reason=WON_WITHOUT)
    assert rig.discovery.given_up == ["task-0002"]
    release.set()
    assert await running == Committed(task=TASK)
    assert await computer.compute(runs, WORK, Limits(), binding=BINDING) == Committed(task=TASK)  # the slot is free
    assert len(rig.sandbox.runs) == 2


async def test_a_result_that_discovery_does_not_take_is_given_up_soon_by_a_worker_that_ends() -> None:
    rig = Rig(last_words_s=0.05, max_retry_s=0.001)
    rig.discovery.troubles["commit"] = [DiscoveryUnavailable("away")] * 100_000
    computer = Computer(rig.ports, WorkerBatches(rig.discovery), rig.policy)
    before = asyncio.create_task(computer.compute(replica_of(rig), WORK, Limits(), binding=BINDING))
    await rig.discovery.called("commit", 3)
    assert not before.done()
    computer.hurry()
    after = asyncio.create_task(computer.compute(replica_of(rig), WORK, Limits(), binding=BINDING))
    async with asyncio.timeout(5):
        for outcome in (await before, await after):
            assert isinstance(outcome, Failed)
            assert (
                outcome.reason == "this worker is shutting down, and discovery did not accept the result within 0.05 s"
            )


async def test_a_worker_that_ends_takes_up_nothing_that_waits() -> None:
    rig = Rig(slots=1)
    entered, release = asyncio.Event(), asyncio.Event()

    async def act() -> Computed:
        entered.set()
        await release.wait()
        return Computed(outcome=RESULT, log=b"")

    rig.sandbox.act = act
    computer = Computer(rig.ports, WorkerBatches(rig.discovery), rig.policy)
    running = asyncio.create_task(computer.compute(replica_of(rig), WORK, Limits(), binding=BINDING))
    await entered.wait()
    waiting = replica_of(rig)
    waiting = attrs.evolve(waiting, assignment=attrs.evolve(waiting.assignment, task="task-0002"))
    before = asyncio.create_task(computer.compute(waiting, WORK, Limits(), binding=BINDING))
    await asyncio.sleep(0)
    computer.hurry()
    leaving = Failed(task="task-0002", reason=LEAVING)
    assert await before == leaving
    assert await computer.compute(waiting, WORK, Limits(), binding=BINDING) == leaving
    release.set()
    assert await running == Committed(task=TASK)
