"""Buying a dispute: everybody who committed is paid and delivers, and the results are compared."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ec262.domain.commands import BoughtReplica, BuyDisputes, DisputedResult, TaskState, Verdict
from ec262.domain.diagnosis import Diagnosis, diagnose
from ec262.domain.errors import DiscoveryError, NotCanonical, PeerError
from ec262.domain.job_events import Dispute
from ec262.domain.messages import Deliver
from ec262.domain.outcome import Outcome, decode_outcome
from ec262.domain.ports.cipher import Cipher
from ec262.domain.ports.discovery import ForemanDiscovery
from ec262.domain.work_hash import WorkBinding
from ec262.services.deliveries import open_result
from ec262.services.worker_link import WorkerLink

logger = logging.getLogger(__name__)

LinkTo = Callable[[BoughtReplica], Awaitable[WorkerLink]]


class DisputeDesk:
    """Carries out the job's machine's ``Dispute``."""

    def __init__(self, discovery: ForemanDiscovery, cipher: Cipher, link_to: LinkTo, *, output_bytes: int) -> None:
        self._discovery = discovery
        self._cipher = cipher
        self._link_to = link_to
        self._output_bytes = output_bytes

    async def diagnose(self, dispute: Dispute, work: WorkBinding) -> tuple[Verdict | None, Diagnosis | None]:
        """Return discovery's word on the task, and what its results look like, if two of them can be compared; ``work``
        is what they are bound to."""
        try:
            reply = await self._discovery.dispute(BuyDisputes(tasks=(dispute.task,)))
        except DiscoveryError as error:
            logger.info("%s: no dispute: %s", dispute.name, error)
            return None, None
        verdict = next(iter(reply.verdicts), None)
        if verdict is None or verdict.state is not TaskState.DISPUTED or verdict.key is None:
            return verdict, None
        replicas = {replica.worker: replica for replica in dispute.replicas}
        known = [result for result in verdict.results if result.worker in replicas]
        key = verdict.key
        fetched = await asyncio.gather(
            *(self._result(dispute, replicas[result.worker], result, key, work) for result in known)
        )
        outcomes = {
            result.worker: outcome for result, outcome in zip(known, fetched, strict=True) if outcome is not None
        }
        return verdict, await asyncio.to_thread(diagnose, outcomes)

    async def _result(
        self, dispute: Dispute, replica: BoughtReplica, result: DisputedResult, key: bytes, work: WorkBinding
    ) -> Outcome | None:
        """Fetch what one worker committed; None if it does not deliver, or it is no result."""
        try:
            link = await self._link_to(replica)
            delivered = await link.fetch(Deliver(task=dispute.task, secret=result.delivery_secret))
            opened = open_result(
                delivered, digest=result.digest, key=key, work=work, cipher=self._cipher, most=self._output_bytes
            )
            return await asyncio.to_thread(decode_outcome, opened)
        except (PeerError, NotCanonical) as error:
            logger.info("%s: worker %s: %s: %s", dispute.name, replica.worker, type(error).__name__, error)
            return None
