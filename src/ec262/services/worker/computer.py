"""From a task's work to its commitment: run, encrypt, keep, commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import attrs

from ec262.domain.errors import (
    ConfigurationError,
    DiscoveryError,
    DiscoveryUnavailable,
    ResultNotStored,
    SandboxCrashed,
    SandboxError,
    SandboxLimitExceeded,
)
from ec262.domain.pauses import growing
from ec262.domain.ports.cipher import Cipher
from ec262.domain.ports.clock import Clock, Entropy
from ec262.domain.ports.discovery import WorkerDiscovery
from ec262.domain.ports.result_store import ResultStore, StoredResult
from ec262.domain.ports.sandbox import Sandbox
from ec262.domain.protocol.messages import MAX_REASON_CHARS, Committed, Failed
from ec262.domain.protocol.worker_calls import Assignment, Commitment
from ec262.domain.work.digests import ciphertext_digest
from ec262.domain.work.outcome import CRASH, Stopped, encode_outcome
from ec262.domain.work.work import Computed, Limits, Work
from ec262.domain.work.work_hash import WorkBinding
from ec262.domain.worker.surroundings import Surroundings
from ec262.services.calls.retry import until_answered
from ec262.services.worker.worker_batches import WorkerBatches
from ec262.services.worker.worker_policy import WorkerPolicy

logger = logging.getLogger(__name__)

THREAD_BYTES = 256 << 10
"""Results larger than this are encrypted in a thread, so that other foremen need not wait (2 ms at 150 MB/s)."""


@attrs.frozen(kw_only=True)
class AssignedReplica:
    """An assignment with its times on this worker's clock."""

    assignment: Assignment
    deadline: float
    forgotten_at: float

    @property
    def task(self) -> str:
        """The task's id."""
        return self.assignment.task


@attrs.frozen(kw_only=True)
class WorkerPorts:
    """The ports that a worker uses."""

    discovery: WorkerDiscovery
    sandbox: Sandbox
    cipher: Cipher
    results: ResultStore
    surroundings: Surroundings
    clock: Clock
    entropy: Entropy


LEAVING = "this worker is leaving the pool"
WON_WITHOUT = "the task was won before this worker began it"
DEFECT = "internal error in the worker"


class Computer:
    """Computes tasks, ``slots`` at a time, none past its deadline."""

    def __init__(self, ports: WorkerPorts, batches: WorkerBatches, policy: WorkerPolicy) -> None:
        self._ports = ports
        self._batches = batches
        self._policy = policy
        self._slots = asyncio.Semaphore(policy.slots)
        self._waiting: dict[str, asyncio.Timeout] = {}
        self._dropped: dict[str, str] = {}
        self._committing: set[asyncio.Timeout] = set()
        self._hurried = False

    async def compute(
        self, replica: AssignedReplica, work: Work, limits: Limits, *, binding: WorkBinding
    ) -> Committed | Failed:
        """Compute a task and commit its result, bound to ``binding``. Never raises: ``Failed`` holds the reason."""
        outcome = await self._compute(replica, work, limits, binding)
        if isinstance(outcome, Failed):
            await self._give_up(replica.task)
        return outcome

    def waits(self, task: str) -> bool:
        """Return whether a task is waiting for a slot."""
        return task in self._waiting

    def drop(self, task: str, reason: str) -> None:
        """End a task that is waiting for a slot. A task that has a slot is computed to its end."""
        waiting = self._waiting.get(task)
        if waiting is not None and not waiting.expired():
            self._dropped[task] = reason
            waiting.reschedule(asyncio.get_running_loop().time())

    def hurry(self) -> None:
        """Drop tasks that wait for a slot, and give discovery at most ``last_words_s`` to accept a result from now
        on."""
        self._hurried = True
        for task in list(self._waiting):
            self.drop(task, LEAVING)
        if self._committing:
            logger.info(
                "waiting up to %g s for discovery to accept %d result(s)",
                self._policy.last_words_s,
                len(self._committing),
            )
        for committing in self._committing:
            self._bound(committing)

    def _bound(self, committing: asyncio.Timeout) -> None:
        if not committing.expired():
            committing.reschedule(asyncio.get_running_loop().time() + self._policy.last_words_s)

    async def give_up(self, task: str, reason: str) -> Failed:
        """Surrender a task that cannot be computed."""
        await self._give_up(task)
        return _failed(task, reason)

    async def _compute(
        self, replica: AssignedReplica, work: Work, limits: Limits, binding: WorkBinding
    ) -> Committed | Failed:
        task = replica.task
        try:
            computed, took_s = await self._run(replica, work, limits.capped_by(self._policy.limits))
            stored, digest = await self._seal(replica.assignment, computed, binding)
            # Stored before it is committed: what is promised can be delivered.
            await self._ports.results.put(task, stored, forgotten_at=replica.forgotten_at)
            await self._commit(replica, digest, stopped=computed.stopped)
        except (SandboxError, ResultNotStored, DiscoveryError, ConfigurationError) as error:
            return _failed(task, str(error))
        except Exception:
            logger.exception("task %s: internal error in this worker", task)
            return _failed(task, DEFECT)
        logger.info("task %s: committed (%d bytes)", task, len(stored.ciphertext))
        return Committed(task=task, took_s=took_s)

    async def _run(self, replica: AssignedReplica, work: Work, limits: Limits) -> tuple[Computed, float]:
        """Run a task once a slot is free; return what it computed, and how many seconds that took."""
        began: float | None = None
        try:
            async with asyncio.timeout(self._left_s(replica)) as waiting, self._turn(replica.task, waiting):
                began = self._ports.clock()
                logger.debug("task %s: computing", replica.task)
                computed = await self._computed(work, limits)
                return computed, max(0.0, self._ports.clock() - began)  # clocks may be set back
        except TimeoutError:
            if replica.task in self._dropped:
                raise SandboxError(self._dropped[replica.task]) from None
            if began is None:
                raise SandboxError("the task's deadline passed while it waited for a free slot") from None
            raise SandboxError("the task's deadline passed while it was being computed") from None
        finally:
            self._dropped.pop(replica.task, None)

    async def _computed(self, work: Work, limits: Limits) -> Computed:
        """Run a task. Hitting a limit or crashing is a result, too: the job's own explanation can reach the foreman
        only with a result that is paid for. Raises SandboxBroken."""
        try:
            return await self._ports.sandbox.run(work, limits)
        except SandboxLimitExceeded as error:
            return _stopped(error.limit, error.detail, limits)
        except SandboxCrashed as error:
            return _stopped(CRASH, str(error), limits)

    @asynccontextmanager
    async def _turn(self, task: str, waiting: asyncio.Timeout) -> AsyncIterator[None]:
        """Hold a slot, once one is free. ``waiting`` ends the task if it is dropped before."""
        if self._hurried and self._slots.locked():
            raise SandboxError(LEAVING)
        self._waiting[task] = waiting
        try:
            await self._slots.acquire()
        finally:
            del self._waiting[task]
        try:
            yield
        finally:
            self._slots.release()

    async def _seal(
        self, assignment: Assignment, computed: Computed, binding: WorkBinding
    ) -> tuple[StoredResult, bytes]:
        """Encrypt a result; return it with the digest to commit."""

        def seal() -> tuple[StoredResult, bytes]:
            encrypt, key, task = self._ports.cipher.encrypt, assignment.key, assignment.task
            ciphertext = encrypt(computed.outcome, key=key, task=task, label="result", work=binding)
            log = encrypt(computed.log, key=key, task=task, label="log", work=binding)
            return StoredResult(ciphertext=ciphertext, log=log), ciphertext_digest(ciphertext)

        if len(computed.outcome) + len(computed.log) > THREAD_BYTES:
            return await asyncio.to_thread(seal)
        return seal()

    async def _commit(self, replica: AssignedReplica, digest: bytes, *, stopped: bool) -> None:
        commitment = Commitment(task=replica.task, digest=digest, stopped=stopped)
        pauses = growing(self._policy.retry_s, self._policy.max_retry_s, self._ports.entropy)
        try:
            async with asyncio.timeout(None) as hurried:
                self._committing.add(hurried)
                if self._hurried:
                    self._bound(hurried)
                ask = partial(self._batches.commit, commitment)
                await until_answered(ask, pauses, within_s=self._left_s(replica))
        except TimeoutError:
            raise DiscoveryUnavailable(
                "this worker is shutting down, and discovery did not accept the result "
                f"within {self._policy.last_words_s:g} s"
            ) from None
        finally:
            self._committing.discard(hurried)

    async def _give_up(self, task: str) -> None:
        """Let discovery free this worker's slot. This is a courtesy, so errors are only logged."""
        try:
            await self._batches.give_up(task)
        except DiscoveryError as error:
            logger.debug("task %s: could not surrender it: %s", task, error)
        except Exception:
            logger.exception("task %s: could not surrender it: internal error in this worker", task)

    def _left_s(self, replica: AssignedReplica) -> float:
        return replica.deadline - self._ports.clock()


def _stopped(by: str, detail: str, limits: Limits) -> Computed:
    log = detail.encode()[: limits.log_bytes]
    return Computed(outcome=encode_outcome(Stopped(by=by)), log=log, stopped=True)


def _failed(task: str, reason: str) -> Failed:
    logger.info("task %s: failed: %s", task, reason)
    return Failed(task=task, reason=reason[:MAX_REASON_CHARS])
