"""What a job asks of its workers: to compute a task, and to deliver a result, or all results if they differ."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs

from ec262.domain.errors import BadDelivery, DiscoveryError, KeyNotHashable, NotCanonical, PeerError, PhaseOver
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.foreman.run import events as ev
from ec262.domain.protocol.foreman_calls import DeliveryReport, DeliveryReports, Verdict
from ec262.domain.protocol.limits import MAX_BATCH
from ec262.domain.protocol.messages import Assign, Compute, Deliver, Delivered, Failed
from ec262.domain.work.outcome import CRASH, Failure, Stopped
from ec262.domain.work.work import TaskName
from ec262.domain.work.work_hash import WorkBinding
from ec262.services.calls.batching import Batcher
from ec262.services.foreman.data.job_data import JobData
from ec262.services.foreman.foreman_policy import ForemanPolicy, ForemanPorts
from ec262.services.foreman.workers.deliveries import largest_delivery, limit_error, open_log, open_result, user_error
from ec262.services.foreman.workers.disputes import DisputeDesk
from ec262.services.foreman.workers.worker_link import WorkerLink
from ec262.services.foreman.workers.worker_links import WorkerLinks

logger = logging.getLogger(__name__)

REPORT_PAUSE_S = 0.2
"""Pause between two calls that report workers."""

THREAD_BYTES = 256 << 10
"""Results larger than this are decrypted in a thread."""

LAST_REPORT_S = 1.0
"""How long the end of a job may wait for the last reports."""


class JobWorkers:
    """The workers of one job. Carries out the machine's instructions for them, and returns the resulting events."""

    def __init__(self, ports: ForemanPorts, policy: ForemanPolicy, job: Job, data: JobData) -> None:
        self._ports = ports
        self._policy = policy
        self._job = job
        self._data = data
        most_bytes = min(policy.link.max_result_bytes, largest_delivery(policy.limits))
        self._links = WorkerLinks(ports.dialer, attrs.evolve(policy.link, max_result_bytes=most_bytes))
        self._disputes = DisputeDesk(
            ports.discovery,
            ports.cipher,
            self._links.to,
            output_bytes=policy.limits.output_bytes,
            compared_bytes=policy.memory.load_bytes,
        )
        self._dispatches: dict[tuple[str, str], asyncio.Task[Any] | None] = {}
        self._report: Batcher[DeliveryReport, None] = Batcher(
            self._send_reports, most=MAX_BATCH, pause_s=lambda: REPORT_PAUSE_S
        )
        self._reports: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> int:
        """How many workers are connected."""
        return self._links.connected

    async def close(self) -> None:
        """Close the connections. Cancel everything that waits for one of these workers first."""
        await self._links.close()
        if self._reports:
            await asyncio.wait(self._reports, timeout=LAST_REPORT_S)
        await self._report.close()

    # --- computing ----------------------------------------------------------------------------------------------------

    async def end_phase(self) -> None:
        """Stop sending work of a phase that is over, and stop waiting for its workers: everything in it is decided."""
        await self._stop(list(self._dispatches))

    async def _stop(self, which: Sequence[tuple[str, str]]) -> None:
        """Cancel dispatches by task and worker, if they exist. A link waits for one reply per task at a time."""
        found = [self._dispatches.pop(each, None) for each in which]
        dispatches = [dispatch for dispatch in found if dispatch is not None]
        for dispatch in dispatches:
            dispatch.cancel()
        await asyncio.gather(*dispatches, return_exceptions=True)

    async def dispatch(self, dispatch: ev.Dispatch) -> ev.Event:
        """Have a worker compute a task, and wait for its commitment. Run this as an asyncio task of its own."""
        which = dispatch.task, dispatch.replica.worker
        self._dispatches[which] = asyncio.current_task()
        try:
            return await self._dispatched(dispatch)
        finally:
            self._dispatches.pop(which, None)

    async def _dispatched(self, dispatch: ev.Dispatch) -> ev.Event:
        worker, began = dispatch.replica.worker, self._now()
        assign = Assign(task=dispatch.task, secret=dispatch.replica.secret)
        reason = ""
        try:
            link = await self._links.to(dispatch.replica)
            reply = await link.compute(assign, self._work(dispatch, link), deadline_s=self._policy.deadline_s)
            if isinstance(reply, Failed):
                reason = reply.reason
            else:  # strangers may claim anything, but not more time than has passed
                self._data.took(dispatch.name, min(reply.took_s, self._now() - began))
        except (PeerError, PhaseOver) as error:
            reason = f"{type(error).__name__}: {error}"
        if not reason:
            return ev.ReplicaCommitted(now=self._now(), task=dispatch.task, worker=worker)
        logger.info("%s: worker %s: %s", dispatch.name, worker, reason)
        return ev.ReplicaEnded(now=self._now(), task=dispatch.task, worker=worker, reason=reason)

    @asynccontextmanager
    async def _work(self, dispatch: ev.Dispatch, link: WorkerLink) -> AsyncIterator[Compute]:
        async with self._data.payload(dispatch.name) as rows:
            packed = await self._data.packed(dispatch.name) if link.is_slow else None
            binding = self._binding(dispatch.name)
            yield Compute(
                task=dispatch.task,
                work_hash=binding.work_hash,
                nonce=binding.nonce,
                phase=dispatch.name.phase,
                seed=self._job.seed,
                limits=self._policy.limits,
                round_floats=self._job.round_floats,
                functions=self._job.functions,
                unpacked_bytes=0 if packed is None else len(rows),
                rows=rows if packed is None else packed,
            )

    # --- delivering ---------------------------------------------------------------------------------------------------

    async def fetch(self, fetch: ev.Fetch) -> ev.Event:
        """Fetch a winner's result into the job's data."""
        verdict, worker = fetch.verdict, fetch.replica.worker
        await self._stop([(verdict.task, worker)])  # what the dispatch would report is already known
        try:
            work = self._binding(fetch.name)
            link = await self._links.to(fetch.replica)
            secret = next(winner.delivery_secret for winner in verdict.winners if winner.worker == worker)
            async with self._data.arriving(fetch.name):
                delivered = await link.fetch(Deliver(task=verdict.task, secret=secret))
                outcome, log = await self._opened(verdict, delivered, work)
                del delivered
                ending = await (self._data.set_aside if fetch.alone else self._data.keep)(fetch.name, outcome)
                del outcome
        except KeyNotHashable as error:  # a lone worker may have made its result up
            return ev.CodeFailed(now=self._now(), task=verdict.task, error=error)
        except PhaseOver as error:
            return ev.Undelivered(now=self._now(), task=verdict.task, worker=worker, reason=str(error))
        except (PeerError, NotCanonical) as error:
            reason = f"{type(error).__name__}: {error}"
            logger.info("%s: worker %s: %s", fetch.name, worker, reason)
            self._complain(verdict.task, worker)
            return ev.Undelivered(now=self._now(), task=verdict.task, worker=worker, reason=reason)
        return self._arrived(fetch, ending, log)

    def _arrived(self, fetch: ev.Fetch, ending: Failure | Stopped | None, log: str) -> ev.Event:
        """Return the event for a result; ``ending`` says how its task ended if there are no pairs."""
        now, task = self._now(), fetch.verdict.task
        match ending:
            case Failure():
                return ev.CodeFailed(now=now, task=task, error=user_error(ending, log))
            case Stopped(by=by) if by == CRASH:
                logger.info("%s: %s", fetch.name, log)
                return ev.Crashed(now=now, task=task, detail=log)
            case Stopped():
                return ev.CodeFailed(now=now, task=task, error=limit_error(fetch.name, ending, log))
        if log:
            logger.info("%s printed:\n%s", fetch.name, log.rstrip("\n"))
        return ev.ResultKept(now=now, task=task)

    def _binding(self, name: TaskName) -> WorkBinding:
        """Return what the results of a task are bound to. Raises PhaseOver, and BadDelivery if the task was never given
        work: then nobody can have a result of it."""
        work = self._data.binding(name)
        if work is None:
            raise BadDelivery(f"{name} was won, but its work was never sent")
        return work

    async def _opened(self, verdict: Verdict, delivered: Delivered, work: WorkBinding) -> tuple[bytes, str]:
        """Check and decrypt a delivery; a small one directly, since a thread would cost more. Raises BadDelivery."""
        if len(delivered.ciphertext) + len(delivered.log) <= THREAD_BYTES:
            return self._open(verdict, delivered, work)
        return await asyncio.to_thread(self._open, verdict, delivered, work)

    def _open(self, verdict: Verdict, delivered: Delivered, work: WorkBinding) -> tuple[bytes, str]:
        if verdict.digest is None or verdict.key is None:
            raise BadDelivery("discovery reported a win without its key")
        key, cipher = verdict.key, self._ports.cipher
        limits = self._policy.limits
        outcome = open_result(
            delivered, digest=verdict.digest, key=key, work=work, cipher=cipher, most=limits.output_bytes
        )
        return outcome, open_log(delivered, key=key, work=work, cipher=cipher, most=limits.log_bytes)

    def _complain(self, task: str, worker: str) -> None:
        """Report a winner that did not deliver. This only helps others, so nothing here waits for it."""
        report = asyncio.create_task(self._report(DeliveryReport(task=task, worker=worker)))
        self._reports.add(report)
        report.add_done_callback(self._reports.discard)

    async def _send_reports(self, reports: Sequence[DeliveryReport]) -> list[None]:
        try:
            await self._ports.discovery.report(DeliveryReports(reports=tuple(reports)))
        except DiscoveryError as error:
            logger.debug("could not report %d worker(s): %s", len(reports), error)
        except Exception:
            logger.exception("could not report %d worker(s)", len(reports))
        return [None] * len(reports)

    # --- differing ----------------------------------------------------------------------------------------------------

    async def diagnose(self, dispute: ev.Dispute) -> ev.Event:
        """Find out how the results of workers who could not agree differ."""
        # All workers have committed, or never will, whether or not they have reported it.
        await self._stop([(dispute.task, replica.worker) for replica in dispute.replicas])
        work = self._data.binding(dispute.name)
        if work is None:  # no work was sent, so there is nothing to compare
            return ev.Diagnosed(now=self._now(), task=dispute.task, verdict=None, diagnosis=None)
        verdict, diagnosis = await self._disputes.diagnose(dispute, work)
        if diagnosis is not None:
            logger.info("%s: workers differ in %s", dispute.name, diagnosis)
        return ev.Diagnosed(now=self._now(), task=dispute.task, verdict=verdict, diagnosis=diagnosis)

    def _now(self) -> float:
        return self._ports.clock()
