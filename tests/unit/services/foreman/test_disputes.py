"""A dispute that was bought: how much of what strangers deliver is compared."""

from __future__ import annotations

import asyncio
from typing import Any

from ec262.adapters.ciphers.aes_siv import AesSivCipher
from ec262.domain.foreman.job.diagnosis import Diagnosis
from ec262.domain.foreman.run.events import Dispute
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.foreman_calls import BoughtReplica, BuyDisputes, DisputedResult, Verdict, Verdicts
from ec262.domain.protocol.messages import Deliver, Delivered
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.digests import ciphertext_digest
from ec262.domain.work.outcome import Pairs, encode_outcome
from ec262.domain.work.work import Phase, TaskName
from ec262.domain.work.work_hash import WorkBinding
from ec262.services.foreman.workers.disputes import AT_ONCE, DisputeDesk

TASK, KEY = "task-0001", bytes(AesSivCipher.key_bytes)
WORK = WorkBinding(work_hash=bytes(32), nonce=bytes(32))
ADDRESS = WorkerAddress(host="127.0.0.1", port=1, fingerprint="0" * 64)


class Office:
    """Discovery and workers: each has committed a text of so many characters, all of them different."""

    def __init__(self, *sizes: int) -> None:
        self.now = self.most = 0
        self._results: dict[str, bytes] = {}
        for number, size in enumerate(sizes):
            text = f"{number}" + "x" * size
            sealed = AesSivCipher().encrypt(
                encode_outcome(Pairs(pairs=(("key", text),))), key=KEY, task=TASK, label="result", work=WORK
            )
            self._results[f"worker-{number:02}-of-the-task"] = sealed

    async def dispute(self, command: BuyDisputes) -> Verdicts:
        results = tuple(
            DisputedResult(worker=worker, digest=ciphertext_digest(sealed), delivery_secret=worker.encode())
            for worker, sealed in self._results.items()
        )
        verdict = Verdict(
            task=TASK, state=TaskState.DISPUTED, committed=len(results), outstanding=0, key=KEY, results=results
        )
        return Verdicts(verdicts=(verdict,))

    async def link_to(self, replica: BoughtReplica) -> Any:
        return self

    async def fetch(self, deliver: Deliver) -> Delivered:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return Delivered(task=TASK, ciphertext=self._results[deliver.secret.decode()], log=b"")

    async def diagnosis(self, compared_bytes: int) -> Diagnosis | None:
        desk = DisputeDesk(
            self,  # type: ignore[arg-type]  # all of discovery that is needed here
            AesSivCipher(),
            self.link_to,
            output_bytes=1 << 20,
            compared_bytes=compared_bytes,
        )
        replicas = tuple(BoughtReplica(worker=worker, address=ADDRESS, secret=b"s" * 32) for worker in self._results)
        dispute = Dispute(name=TaskName(phase=Phase.MAP, index=0), task=TASK, replicas=replicas)
        _, diagnosis = await desk.diagnose(dispute, WORK)
        return diagnosis


async def test_results_that_are_too_large_to_be_compared_are_left_out() -> None:
    found = await Office(100_000, 10, 20).diagnosis(50_000)
    assert found is not None
    assert found.workers == ("worker-01-of-the-task", "worker-02-of-the-task")
    assert await Office(100_000, 10).diagnosis(50_000) is None


async def test_results_are_left_out_that_are_too_large_together() -> None:
    found = await Office(*[20_000] * 8).diagnosis(50_000)
    assert found is not None
    assert await Office(*[20_000] * 8).diagnosis(39_000) is None


async def test_few_are_fetched_at_a_time() -> None:
    office = Office(*range(20))
    assert await office.diagnosis(50_000) is not None
    assert office.most == AT_ONCE
