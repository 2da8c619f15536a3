"""The tasks of one worker, across all connections: what is assigned, what runs, and how it ended."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Iterable

from ec262.domain.errors import (
    DiscoveryError,
    DiscoveryRefused,
    DiscoveryUnavailable,
    ProtocolViolation,
    TaskClosed,
    UnknownTask,
)
from ec262.domain.pauses import growing
from ec262.domain.protocol.messages import Assign, Committed, Compute, Deliver, Delivered, Failed, Ready, Refused
from ec262.domain.protocol.shapes import ID_PATTERN
from ec262.domain.work.packing import unpack
from ec262.domain.work.work import Work
from ec262.domain.work.work_hash import work_hash
from ec262.services.calls.retry import until_answered
from ec262.services.worker.announcements import Announcements, Line
from ec262.services.worker.computer import (
    DEFECT,
    LEAVING,
    THREAD_BYTES,
    WON_WITHOUT,
    AssignedReplica,
    Computer,
    WorkerPorts,
)
from ec262.services.worker.proofs import Proofs
from ec262.services.worker.shares import Shares
from ec262.services.worker.worker_batches import WorkerBatches
from ec262.services.worker.worker_policy import WorkerPolicy

logger = logging.getLogger(__name__)

NOT_ASSIGNED = "no such assignment"
"""The same answer for an unknown task, another worker's task and a wrong secret."""
HUNG_UP = "the foreman disconnected before it sent the task's work"
TOO_LATE = "the foreman announced the task but did not send its work"
NO_MEMORY = "this worker has no memory left for more work"
OTHER_WORK = "the received work does not match the foreman's work hash"


class TaskBook:
    """Answers foremen's requests. A task is computed once; repeated requests get the same answer."""

    def __init__(self, ports: WorkerPorts, policy: WorkerPolicy) -> None:
        self._ports = ports
        self._policy = policy
        self._batches = WorkerBatches(ports.discovery)
        self._computer = Computer(ports, self._batches, policy)
        self._replicas: dict[str, AssignedReplica] = {}
        self._open: dict[str, AssignedReplica] = {}
        self._running: dict[str, asyncio.Task[Committed | Failed]] = {}
        self._outcomes: dict[str, Committed | Failed] = {}
        self._abandoned: set[str] = set()
        self._announcements = Announcements(patience_s=policy.begin_s, transfers_s=policy.transfers_s)
        self._leaving = False
        self.intake = Shares(policy.max_pending_bytes, of_block=policy.max_payload_bytes, wait_s=policy.room_s)
        """Memory for work: reserved before the work is received, and held until its task ends."""
        self.proofs = Proofs(policy.max_proofs)
        self.deliveries = Shares(policy.max_deliveries, of_block=max(1, policy.max_deliveries // 2))
        """Places for results, from the request until they are sent: results fill memory, too."""

    # --- requests ---------------------------------------------------------------------------------------------------

    async def assign(self, message: Assign, line: Line | None = None, *, stranger: bool = False) -> Ready | Refused:
        """Ask discovery whether the foreman may send this task's work, on this ``line``. A ``stranger`` has proved
        nothing so far."""
        task = message.task
        replica = self._replicas.get(task)
        if replica is None:
            try:
                replica = await self._look_up(task, stranger=stranger)
            except DiscoveryUnavailable as error:
                return Refused(task=task, reason=str(error))
            except DiscoveryRefused as error:
                logger.debug("task %s: %s", task, error)
        if replica is None:
            return Refused(task=task, reason=NOT_ASSIGNED)
        # Once looked up, the task takes a slot at discovery, whoever asked.
        self._replicas[task] = replica
        is_new = task not in self._outcomes and task not in self._running
        if is_new:
            self._announcements.expect(task)
        if not hmac.compare_digest(message.secret, replica.assignment.secret):
            return Refused(task=task, reason=NOT_ASSIGNED)
        if is_new:
            obstacle = self._obstacle(replica)
            if obstacle:
                return Refused(task=task, reason=obstacle)
            self._announcements.expect(task, line)
            self._open[task] = replica
            self._abandoned.discard(task)
        return Ready(task=task)

    def begin(self, message: Compute) -> asyncio.Future[Committed | Failed] | Refused:
        """Begin a task that was announced with ``assign``, unless it is running or done; return a future for its end.

        The future does not hold the work, so a caller that releases the message keeps no copy of work that was sent
        twice. Cancelling it does not cancel the computation: discovery pays for the commitment even if the foreman has
        gone.
        """
        task = message.task
        if task in self._outcomes:
            outcome: asyncio.Future[Committed | Failed] = asyncio.get_running_loop().create_future()
            outcome.set_result(self._outcomes[task])
            return outcome
        if task not in self._running:
            replica = self._open.get(task)
            if replica is None:
                return Refused(task=task, reason=NOT_ASSIGNED)
            if self._leaving:
                return Refused(task=task, reason=LEAVING)
            size_bytes = len(message.functions) + len(message.rows) + message.unpacked_bytes
            if size_bytes > self.intake.room_for(task) or message.unpacked_bytes > self._policy.max_payload_bytes:
                return Refused(task=task, reason=NO_MEMORY)
            logger.info("task %s: accepted (%s, %d bytes)", task, message.phase.value, size_bytes)
            self.intake.hold(size_bytes)
            self._announcements.drop(task)
            self._running[task] = asyncio.create_task(self._compute(replica, message, size_bytes))
        return asyncio.shield(self._running[task])

    def may_have(self, message: Deliver) -> bool:
        """Return whether a foreman knows the delivery secret of its task."""
        replica = self._replicas.get(message.task)
        digest = hashlib.sha256(message.secret).digest()
        return replica is not None and hmac.compare_digest(digest, replica.assignment.delivery_digest)

    async def deliver(self, message: Deliver) -> Delivered | Refused:
        """Return a result to anyone who shows its delivery secret, on any connection."""
        task = message.task
        if not self.may_have(message):
            return Refused(task=task, reason=NOT_ASSIGNED)
        result = await self._ports.results.get(task)
        if result is None:
            return Refused(task=task, reason="this worker has no result for the task")
        logger.info("task %s: delivering", task)
        return Delivered(task=task, ciphertext=result.ciphertext, log=result.log)

    async def delivered(self, task: str) -> None:
        """Record that a foreman has a task's result, which is then kept only while no other result needs the room."""
        await self._ports.results.spare(task)

    @property
    def room_bytes(self) -> int:
        """How many more bytes of work can be accepted now."""
        return self.intake.room

    # --- what is not needed -------------------------------------------------------------------------------------------

    def abandon(self, tasks: Iterable[str], line: Line) -> None:
        """Record that the foreman that announced these tasks on this line has disconnected. Tasks whose work did not
        arrive are given up soon, unless they are announced on another line."""
        self._abandoned.update(task for task in tasks if self._announcements.comes_by(task, line))

    async def give_up_unneeded(self) -> None:
        """Give up the tasks that have not begun and are no longer needed: those that were abandoned, those whose work
        does not arrive, and those that discovery reports as won or ended. They take slots at discovery and memory
        here."""
        abandoned, self._abandoned = self._abandoned, set()
        await asyncio.gather(*(self._drop(task, HUNG_UP) for task in abandoned))
        await asyncio.gather(*(self._drop(task, TOO_LATE) for task in self._announcements.overdue()))
        waiting = [task for task in self._open if task not in self._running or self._computer.waits(task)]
        await asyncio.gather(*map(self._drop_if_decided, waiting))

    async def _drop_if_decided(self, task: str) -> None:
        try:
            assignment = await self._batches.assignment(task)
        except (TaskClosed, UnknownTask) as error:
            await self._drop(task, str(error))
        except DiscoveryError as error:
            logger.debug("task %s: could not check whether it is won: %s", task, error)
        else:
            if assignment.won:
                await self._drop(task, WON_WITHOUT)

    async def _drop(self, task: str, reason: str) -> None:
        if task in self._running:
            self._computer.drop(task, reason)
        elif task not in self._outcomes:
            self._open.pop(task, None)
            self._announcements.drop(task)
            self._outcomes[task] = Failed(task=task, reason=reason)
            await self._computer.give_up(task, reason)

    # --- life cycle -------------------------------------------------------------------------------------------------

    def refuse_new(self) -> None:
        """Accept no more work from now on. Drop the work that waits for a slot, and limit how long discovery is asked
        to accept results: it may be down."""
        self._leaving = True
        self._computer.hurry()

    @property
    def computing(self) -> int:
        """How many tasks wait for a slot or run."""
        return len(self._running)

    @property
    def ends_in_s(self) -> float:
        """After how many seconds, at most, all computations will have ended."""
        now = self._ports.clock()
        return max((self._replicas[task].deadline - now for task in self._running), default=0.0)

    async def finish(self) -> None:
        """Wait until nothing is being computed; every task ends by its deadline."""
        while self._running:
            await asyncio.wait(self._running.values())

    async def purge(self) -> None:
        """Drop tasks that are past their deadline or forgotten by discovery."""
        now = self._ports.clock()
        for task, replica in list(self._replicas.items()):
            if replica.deadline <= now:
                self._open.pop(task, None)
                self._announcements.drop(task)
            if replica.deadline + self._policy.fetch_s <= now:
                await self._ports.results.spare(task)
            if replica.forgotten_at <= now:
                del self._replicas[task]
                self._outcomes.pop(task, None)
        await self._ports.results.purge(now)

    async def close(self) -> None:
        """Stop all computations at once."""
        running = list(self._running.values())
        for computation in running:
            computation.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _look_up(self, task: str, *, stranger: bool) -> AssignedReplica | None:
        if not re.fullmatch(ID_PATTERN, task):
            return None
        ask = self._batches.claim if stranger else self._batches.assignment
        assignment = await until_answered(
            lambda: ask(task),
            growing(self._policy.retry_s, self._policy.max_retry_s, self._ports.entropy),
            within_s=self._policy.assign_s,
        )
        now = self._ports.clock()
        return AssignedReplica(
            assignment=assignment,
            deadline=now + assignment.deadline_in_s,
            forgotten_at=now + assignment.forgotten_in_s,
        )

    def _obstacle(self, replica: AssignedReplica) -> str:
        """Return why a task cannot begin, or an empty string."""
        if self._leaving:
            return LEAVING
        now = self._ports.clock()
        if replica.deadline <= now:
            return "the task's deadline has passed"
        if replica.task not in self._open and len(self._open) >= self._policy.max_open_tasks:
            return "this worker has no room for another task"
        if self.room_bytes <= 0:
            return NO_MEMORY
        return ""

    async def _compute(self, replica: AssignedReplica, message: Compute, size_bytes: int) -> Committed | Failed:
        try:
            outcome = await self._outcome(replica, message)
        except Exception:  # its foreman may be gone, and nobody else awaits this
            logger.exception("task %s: internal error in this worker", replica.task)
            outcome = await self._computer.give_up(replica.task, DEFECT)
        finally:
            del self._running[replica.task]
            self._open.pop(replica.task, None)
            self.intake.free(size_bytes)
        self._outcomes[replica.task] = outcome
        return outcome

    async def _outcome(self, replica: AssignedReplica, message: Compute) -> Committed | Failed:
        rows = message.rows
        if message.unpacked_bytes:
            try:
                rows = await asyncio.to_thread(unpack, rows, message.unpacked_bytes)
            except ProtocolViolation as error:
                return await self._computer.give_up(replica.task, str(error))
        work = Work(
            phase=message.phase,
            functions=message.functions,
            rows=rows,
            seed=message.seed,
            round_floats=message.round_floats,
        )
        if not await _is_meant(message, work):
            return await self._computer.give_up(replica.task, OTHER_WORK)
        return await self._computer.compute(replica, work, message.limits, binding=message.binding)


async def _is_meant(message: Compute, work: Work) -> bool:
    """Return whether this is the work that the foreman meant to send; large work is hashed in a thread."""
    if len(work.functions) + len(work.rows) > THREAD_BYTES:
        found = await asyncio.to_thread(work_hash, work, message.limits)
    else:
        found = work_hash(work, message.limits)
    return hmac.compare_digest(found, message.work_hash)
