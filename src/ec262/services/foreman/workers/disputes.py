"""Buys disputes: everyone who committed is paid and delivers, and the results are compared."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from ec262.domain.errors import DiscoveryError, NotCanonical, PeerError
from ec262.domain.foreman.job.diagnosis import Diagnosis, diagnose
from ec262.domain.foreman.run.events import Dispute
from ec262.domain.ports.cipher import Cipher
from ec262.domain.ports.discovery import ForemanDiscovery
from ec262.domain.protocol.foreman_calls import BoughtReplica, BuyDisputes, DisputedResult, Verdict
from ec262.domain.protocol.messages import Deliver
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.outcome import Outcome, decode_outcome
from ec262.domain.work.work_hash import WorkBinding
from ec262.services.foreman.workers.deliveries import open_result
from ec262.services.foreman.workers.worker_link import WorkerLink

logger = logging.getLogger(__name__)

MOST_RESULTS = 7
"""Results that are compared, each with all others."""

AT_ONCE = 2
"""Results that are fetched at the same time."""

LinkTo = Callable[[BoughtReplica], Awaitable[WorkerLink]]


class DisputeDesk:
    """Carries out a run's ``Dispute`` instructions."""

    def __init__(
        self, discovery: ForemanDiscovery, cipher: Cipher, link_to: LinkTo, *, output_bytes: int, compared_bytes: int
    ) -> None:
        """``output_bytes`` is the output limit of tasks. The compared results may have ``compared_bytes`` in total: any
        beyond that are left out."""
        self._discovery = discovery
        self._cipher = cipher
        self._link_to = link_to
        self._output_bytes = output_bytes
        self._compared_bytes = compared_bytes

    async def diagnose(self, dispute: Dispute, work: WorkBinding) -> tuple[Verdict | None, Diagnosis | None]:
        """Return discovery's verdict on the task, and a diagnosis if at least two of its results can be compared.
        ``work`` is what the results are bound to."""
        try:
            reply = await self._discovery.dispute(BuyDisputes(tasks=(dispute.task,)))
        except DiscoveryError as error:
            logger.info("%s: dispute not bought: %s", dispute.name, error)
            return None, None
        verdict = next(iter(reply.verdicts), None)
        if verdict is None or verdict.state is not TaskState.DISPUTED or verdict.key is None:
            return verdict, None
        outcomes = await self._outcomes(dispute, verdict.results, verdict.key, work)
        return verdict, await asyncio.to_thread(diagnose, outcomes)

    async def _outcomes(
        self, dispute: Dispute, results: Iterable[DisputedResult], key: bytes, work: WorkBinding
    ) -> dict[str, Outcome]:
        """Fetch and decode what workers committed; workers that deliver nothing, or no valid result, are left out."""
        replicas = {replica.worker: replica for replica in dispute.replicas}
        known = [result for result in results if result.worker in replicas]
        outcomes: dict[str, Outcome] = {}
        turns = asyncio.Semaphore(AT_ONCE)
        left = self._compared_bytes

        async def look(result: DisputedResult) -> None:
            nonlocal left
            try:
                async with turns:
                    opened = await self._opened(dispute, replicas[result.worker], result, key, work)
                    if len(opened) > left:
                        logger.info("%s: worker %s: result too large to compare", dispute.name, result.worker)
                        return
                    left -= len(opened)
                    outcomes[result.worker] = await asyncio.to_thread(decode_outcome, opened)
            except (PeerError, NotCanonical) as error:
                logger.info("%s: worker %s: %s: %s", dispute.name, result.worker, type(error).__name__, error)

        await asyncio.gather(*map(look, known[:MOST_RESULTS]))
        return outcomes

    async def _opened(
        self, dispute: Dispute, replica: BoughtReplica, result: DisputedResult, key: bytes, work: WorkBinding
    ) -> bytes:
        """Fetch and decrypt what one worker committed. Raises PeerError."""
        link = await self._link_to(replica)
        delivered = await link.fetch(Deliver(task=dispute.task, secret=result.delivery_secret))
        return open_result(
            delivered, digest=result.digest, key=key, work=work, cipher=self._cipher, most=self._output_bytes
        )
