"""The shell around ``JobRun``: carries its instructions out through the ports and reports back what came of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import attrs

from ec262.domain import job_events as ev
from ec262.domain.commands import (
    MAX_BATCH,
    AcceptResults,
    AddReplicas,
    BuyTasks,
    DeliveryReport,
    DeliveryReports,
    Purchase,
    TaskState,
    Verdict,
    VerdictQuery,
)
from ec262.domain.errors import (
    BadDelivery,
    DiscoveryError,
    NotCanonical,
    PeerError,
    PurchaseTooExpensive,
)
from ec262.domain.job import Job, Limits, Phase, TaskName
from ec262.domain.job_policy import RunPolicy
from ec262.domain.job_run import JobRun
from ec262.domain.job_task import DELIVERED, UNDER_WAY
from ec262.domain.memory import DEFAULT_BUDGET, MemoryBudget
from ec262.domain.messages import Assign, Compute, Deliver, Delivered, Failed
from ec262.domain.plan import Plan, plan_reduce
from ec262.domain.ports.cipher import Cipher
from ec262.domain.ports.clock import Clock, Entropy
from ec262.domain.ports.discovery import ForemanDiscovery
from ec262.domain.ports.progress import JobStatus, Progress
from ec262.domain.ports.spill import Spills
from ec262.domain.ports.transport import Dialer
from ec262.services.batching import Batcher
from ec262.services.deliveries import open_log, open_result, user_error
from ec262.services.disputes import DisputeDesk
from ec262.services.job_data import JobData
from ec262.services.worker_link import LinkPolicy, WorkerLink
from ec262.services.worker_links import WorkerLinks

logger = logging.getLogger(__name__)

REPORT_PAUSE_S = 0.2
"""Between two calls that report workers."""

THREAD_BYTES = 256 << 10
"""Results larger than this are decrypted in a thread."""

LAST_REPORT_S = 1.0
"""How long the end of a job may wait for the last of them."""


@attrs.frozen(kw_only=True)
class ForemanPorts:
    """The ports that a foreman works through."""

    discovery: ForemanDiscovery
    dialer: Dialer
    cipher: Cipher
    clock: Clock
    entropy: Entropy
    progress: Progress
    spills: Spills | None = None
    """Where data go that memory is not to hold; None: memory holds all."""


@attrs.frozen(kw_only=True)
class ForemanPolicy:
    """How a foreman runs jobs: the machine's patience, the tasks' limits, the links' deadlines; how much memory a job's
    data may take; the ``invitation`` that brings its account credits; how long discovery may hold back an answer to its
    watch."""

    run: RunPolicy
    link: LinkPolicy
    limits: Limits
    deadline_s: float = 600.0
    watch_s: float = 10.0
    memory: MemoryBudget = DEFAULT_BUDGET
    invitation: str | None = attrs.field(default=None, repr=False)
    slots: int | None = None
    """The most that a job is planned for: where workers share a machine, its processors are what counts."""


class JobExecution:
    """One run of one job. Use it once."""

    def __init__(self, ports: ForemanPorts, policy: ForemanPolicy, job: Job, plan: Plan, data: JobData) -> None:
        self._ports = ports
        self._policy = policy
        self._job = job
        self._plan = plan
        self._machine = JobRun(policy.run)
        self._data = data
        self._credits = plan.purse
        self._note = ""
        self._finished = False
        self._events: asyncio.Queue[ev.Event | Exception] = asyncio.Queue()
        self._operations: set[asyncio.Task[None]] = set()
        self._dispatches: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._links = WorkerLinks(ports.dialer, policy.link)
        self._disputes = DisputeDesk(ports.discovery, ports.cipher, self._links.to)
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self._report: Batcher[DeliveryReport, None] = Batcher(
            self._send_reports, most=MAX_BATCH, pause_s=lambda: REPORT_PAUSE_S
        )
        self._reports: set[asyncio.Task[None]] = set()

    @property
    def machine(self) -> JobRun:
        """The run's state machine: what became of its tasks."""
        return self._machine

    async def run(self) -> None:
        """Run the job to its end, its result in ``data``. Raises what ended it otherwise."""
        try:
            hold = self._policy.slots is not None
            self._follow(self._planned(Phase.MAP, self._data.cut_map(self._plan, self._grow, hold=hold)))
            while not self._finished:
                event = await self._events.get()
                if isinstance(event, Exception):
                    raise event
                self._follow(event)
        finally:
            await self._close()

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _follow(self, event: ev.Event) -> None:
        for instruction in self._machine.handle(event):
            self._carry_out(instruction)
        self._show()

    def _carry_out(self, instruction: ev.Instruction) -> None:
        """Begin what has an end of its own, which is an event; do the rest."""
        match instruction:
            case ev.Dispatch():
                operation = self._spawn(self._dispatch, instruction)
                which = instruction.task, instruction.replica.worker
                self._dispatches[which] = operation
                operation.add_done_callback(lambda _ended: self._dispatches.pop(which, None))
            case ev.AskVerdicts(heard=None):
                if self._watch is not None:
                    self._watch.cancel()
                self._watch = self._spawn(self._wait_for_news, instruction)
            case ev.Wake():
                self._wake(instruction.at)
            case ev.Finish():
                self._finished = True
            case ev.Fail(error=error):
                raise error
            case _:
                self._spawn(self._operation_for(instruction), instruction)

    def _operation_for(self, instruction: ev.Instruction) -> Callable[..., Awaitable[ev.Event]]:
        operations: dict[type, Callable[..., Awaitable[ev.Event]]] = {
            ev.Buy: self._purchase,
            ev.Extend: self._purchase,
            ev.AskVerdicts: self._ask,
            ev.Accept: self._accept,
            ev.Fetch: self._fetch,
            ev.Dispute: self._diagnose,
            ev.StartReduce: self._start_reduce,
        }
        return operations[type(instruction)]

    def _spawn(self, operation: Callable[..., Awaitable[ev.Event]], *arguments: object) -> asyncio.Task[None]:
        """Run an operation beside the loop; its event, or whatever went wrong in it, comes back through the queue."""

        async def report() -> None:
            try:
                self._events.put_nowait(await operation(*arguments))
            except Exception as error:  # noqa: BLE001 - raised again by the loop, which ends the run
                self._events.put_nowait(error)

        task = asyncio.create_task(report())
        self._operations.add(task)
        task.add_done_callback(self._operations.discard)
        return task

    def _wake(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._now()), self._ring)

    def _ring(self) -> None:
        self._events.put_nowait(ev.TimerRang(now=self._now()))

    def _now(self) -> float:
        return self._ports.clock()

    def _show(self) -> None:
        running = self._machine.count(*UNDER_WAY)
        self._ports.progress.show(
            JobStatus(
                phase=self._machine.phase,
                done=self._machine.count(*DELIVERED),
                running=running,
                total=self._machine.total + self._data.tasks_to_come,
                workers=self._links.connected,
                credits=self._credits,
                note="" if running else self._note,  # while tasks run, to wait for a free slot is the way of things
            )
        )

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        operations = list(self._operations)
        for operation in operations:
            operation.cancel()
        await asyncio.gather(*operations, return_exceptions=True)
        await self._links.close()
        if self._reports:
            await asyncio.wait(self._reports, timeout=LAST_REPORT_S)
        await self._report.close()
        self._ports.progress.close()

    # --- phases -----------------------------------------------------------------------------------------------------

    def _planned(self, phase: Phase, names: tuple[TaskName, ...]) -> ev.PhasePlanned:
        logger.info("%s phase: %d tasks%s", phase.value, len(names), " at first" * (self._data.tasks_to_come > 0))
        return ev.PhasePlanned(now=self._now(), tasks=names)

    def _grow(self, names: tuple[TaskName, ...]) -> None:
        self._events.put_nowait(ev.PhaseGrew(now=self._now(), tasks=names))

    async def _start_reduce(self, _start: ev.StartReduce) -> ev.Event:
        await self._data.shuffle()
        status = await self._ports.discovery.open_account()
        self._credits = status.credits
        sizes = self._data.sizes
        tasks = plan_reduce(sizes, self._plan, purse=status.credits) if sizes else 0
        return self._planned(Phase.REDUCE, self._data.cut(Phase.REDUCE, tasks))

    # --- instructions -----------------------------------------------------------------------------------------------

    async def _purchase(self, order: ev.Buy | ev.Extend) -> ev.Event:
        try:
            return await (self._buy(order) if isinstance(order, ev.Buy) else self._extend(order))
        except PurchaseTooExpensive as error:
            return ev.TooPoor(now=self._now(), asked=order.tasks, have=error.have, need=error.need)

    async def _buy(self, buy: ev.Buy) -> ev.Event:
        command = BuyTasks(
            purchase=self._ports.entropy.token(16).hex(),
            tasks=len(buy.tasks),
            rule=buy.rule,
            requirement=self._job.requirement,
            deadline_s=self._policy.deadline_s,
            avoid=buy.avoid,
        )
        purchase = await self._ports.discovery.buy(command)
        self._note_purchase(purchase)
        logger.debug("bought %d of %d tasks for %d credits", len(purchase.tasks), len(buy.tasks), purchase.price)
        return ev.Bought(now=self._now(), asked=buy.tasks, tasks=purchase.tasks, shortfall=purchase.shortfall)

    async def _extend(self, extend: ev.Extend) -> ev.Event:
        command = AddReplicas(
            purchase=self._ports.entropy.token(16).hex(),
            orders=extend.orders,
            deadline_s=self._policy.deadline_s,
            avoid=extend.avoid,
        )
        purchase = await self._ports.discovery.add_replicas(command)
        self._note_purchase(purchase)
        logger.debug("added %d workers to %d of %d tasks", purchase.price, len(purchase.tasks), len(extend.tasks))
        return ev.Added(now=self._now(), asked=extend.tasks, tasks=purchase.tasks, shortfall=purchase.shortfall)

    def _note_purchase(self, purchase: Purchase) -> None:
        self._credits = purchase.credits
        self._note = "" if purchase.tasks else purchase.shortfall

    async def _accept(self, accept: ev.Accept) -> ev.Event:
        reply = await self._ports.discovery.accept(AcceptResults(tasks=accept.tasks))
        return ev.Accepted(now=self._now(), asked=accept.tasks, verdicts=reply.verdicts)

    async def _dispatch(self, dispatch: ev.Dispatch) -> ev.Event:
        worker, began = dispatch.replica.worker, self._now()
        assign = Assign(task=dispatch.task, secret=dispatch.replica.secret)
        reason, limit = "", ""
        try:
            link = await self._links.to(dispatch.replica)
            reply = await link.compute(assign, self._work(dispatch, link), deadline_s=self._policy.deadline_s)
            if isinstance(reply, Failed):
                reason, limit = reply.reason, reply.limit
            else:  # strangers say what they like; but it did not take longer than it took to hear of it
                self._data.took(dispatch.name, min(reply.took_s, self._now() - began))
        except PeerError as error:
            reason = f"{type(error).__name__}: {error}"
        if not reason:
            return ev.ReplicaCommitted(now=self._now(), task=dispatch.task, worker=worker)
        logger.info("%s: worker %s: %s", dispatch.name, worker, reason)
        return ev.ReplicaEnded(now=self._now(), task=dispatch.task, worker=worker, reason=reason, limit=limit)

    @asynccontextmanager
    async def _work(self, dispatch: ev.Dispatch, link: WorkerLink) -> AsyncIterator[Compute]:
        async with self._data.payload(dispatch.name) as rows:
            packed = await self._data.packed(dispatch.name) if link.is_slow else None
            yield Compute(
                task=dispatch.task,
                phase=dispatch.name.phase,
                seed=self._job.seed,
                limits=self._policy.limits,
                round_floats=self._job.round_floats,
                functions=self._job.functions,
                unpacked_bytes=0 if packed is None else len(rows),
                rows=rows if packed is None else packed,
            )

    async def _ask(self, ask: ev.AskVerdicts) -> ev.Event:
        verdicts: list[Verdict] = []
        for start in range(0, len(ask.tasks), MAX_BATCH):
            query = VerdictQuery(tasks=ask.tasks[start : start + MAX_BATCH])
            verdicts += (await self._ports.discovery.verdicts(query)).verdicts
        return ev.Judged(now=self._now(), asked=ask.tasks, heard=ask.heard, verdicts=tuple(verdicts))

    async def _wait_for_news(self, watch: ev.AskVerdicts) -> ev.Event:
        """Wait for news of tasks, the first of them if there are very many: the others' turn comes."""
        query = VerdictQuery(tasks=watch.tasks[:MAX_BATCH], wait_s=self._policy.watch_s)
        reply = await self._ports.discovery.verdicts(query)
        return ev.Judged(now=self._now(), asked=query.tasks, verdicts=reply.verdicts)

    def _complain(self, task: str, worker: str) -> None:
        """Report a winner that did not deliver: for others' sake, so nothing here waits for it."""
        report = asyncio.create_task(self._report(DeliveryReport(task=task, worker=worker)))
        self._reports.add(report)
        report.add_done_callback(self._reports.discard)

    async def _send_reports(self, reports: Sequence[DeliveryReport]) -> list[None]:
        try:
            await self._ports.discovery.report(DeliveryReports(reports=tuple(reports)))
        except DiscoveryError as error:
            logger.debug("%d workers not reported: %s", len(reports), error)
        return [None] * len(reports)

    async def _fetch(self, fetch: ev.Fetch) -> ev.Event:
        verdict, worker = fetch.verdict, fetch.replica.worker
        dispatch = self._dispatches.pop((verdict.task, worker), None)
        if dispatch is not None:
            # What it would report is known already; the link waits for one reply to a task at a time.
            dispatch.cancel()
            await asyncio.gather(dispatch, return_exceptions=True)
        try:
            link = await self._links.to(fetch.replica)
            secret = next(winner.delivery_secret for winner in verdict.winners if winner.worker == worker)
            async with self._data.arriving(fetch.name):
                delivered = await link.fetch(Deliver(task=verdict.task, secret=secret))
                outcome, log = await self._opened(verdict, delivered)
                del delivered
                alone = verdict.state is TaskState.PROVISIONAL
                failure = await (self._data.set_aside if alone else self._data.keep)(fetch.name, outcome)
                del outcome
        except (PeerError, NotCanonical) as error:
            reason = f"{type(error).__name__}: {error}"
            logger.info("%s: worker %s: %s", fetch.name, worker, reason)
            self._complain(verdict.task, worker)
            return ev.Undelivered(now=self._now(), task=verdict.task, worker=worker, reason=reason)
        if failure is not None:
            return ev.CodeFailed(now=self._now(), task=verdict.task, error=user_error(failure, log))
        if log:
            logger.info("%s printed:\n%s", fetch.name, log)
        return ev.Delivered(now=self._now(), task=verdict.task)

    async def _diagnose(self, dispute: ev.Dispute) -> ev.Event:
        verdict, diagnosis = await self._disputes.diagnose(dispute)
        if diagnosis is not None:
            logger.info("%s: workers differ in %s", dispute.name, diagnosis)
        return ev.Diagnosed(now=self._now(), task=dispute.task, verdict=verdict, diagnosis=diagnosis)

    async def _opened(self, verdict: Verdict, delivered: Delivered) -> tuple[bytes, str]:
        """Check and decrypt a delivery; a small one at once, since a thread costs more. Raises BadDelivery."""
        if len(delivered.ciphertext) + len(delivered.log) <= THREAD_BYTES:
            return self._open(verdict, delivered)
        return await asyncio.to_thread(self._open, verdict, delivered)

    def _open(self, verdict: Verdict, delivered: Delivered) -> tuple[bytes, str]:
        if verdict.digest is None or verdict.key is None:
            raise BadDelivery("discovery told of a win without its key")
        key, cipher = verdict.key, self._ports.cipher
        outcome = open_result(delivered, digest=verdict.digest, key=key, cipher=cipher)
        return outcome, open_log(delivered, key=key, cipher=cipher, most=self._policy.limits.log_bytes)
