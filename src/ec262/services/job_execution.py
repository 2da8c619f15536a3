"""The shell around ``JobRun``: carries its instructions out through the ports and reports back what came of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ec262.domain import job_events as ev
from ec262.domain.commands import MAX_BATCH, AcceptResults, AddReplicas, BuyTasks, Purchase, Verdict, VerdictQuery
from ec262.domain.errors import LimitReached, PurchaseTooExpensive
from ec262.domain.job import Job, Phase, TaskName
from ec262.domain.job_run import JobRun
from ec262.domain.job_task import DELIVERED, UNDER_WAY
from ec262.domain.plan import Plan, plan_reduce
from ec262.domain.ports.progress import JobStatus
from ec262.services.foreman_policy import ForemanPolicy, ForemanPorts
from ec262.services.job_data import JobData
from ec262.services.job_workers import JobWorkers

logger = logging.getLogger(__name__)


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
        self._workers = JobWorkers(ports, policy, job, data)
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None

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
            ev.Dispatch: self._workers.dispatch,
            ev.Fetch: self._workers.fetch,
            ev.Dispute: self._workers.diagnose,
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
        running, wait = self._machine.count(*UNDER_WAY), self._machine.waiting
        note = "" if running else self._note  # while tasks run, to wait for a free slot is the way of things
        self._ports.progress.show(
            JobStatus(
                phase=self._machine.phase,
                done=self._machine.count(*DELIVERED),
                running=running,
                total=self._machine.total + self._data.tasks_to_come,
                workers=self._workers.connected,
                credits=None if self._policy.local else self._credits,
                note=wait.what if wait else note,
                until=wait.until if wait else None,
            )
        )

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        operations = list(self._operations)
        for operation in operations:
            operation.cancel()
        await asyncio.gather(*operations, return_exceptions=True)
        await self._workers.close()
        self._ports.progress.close()

    # --- phases -----------------------------------------------------------------------------------------------------

    def _planned(self, phase: Phase, names: tuple[TaskName, ...]) -> ev.PhasePlanned:
        logger.info("%s phase: %d tasks%s", phase.value, len(names), " at first" * (self._data.tasks_to_come > 0))
        return ev.PhasePlanned(now=self._now(), tasks=names)

    def _grow(self, names: tuple[TaskName, ...]) -> None:
        self._events.put_nowait(ev.PhaseGrew(now=self._now(), tasks=names))

    async def _start_reduce(self, _start: ev.StartReduce) -> ev.Event:
        await self._workers.end_phase()
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
        except LimitReached as error:
            return ev.LimitHit(now=self._now(), asked=order.tasks, error=error)

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
        logger.debug("bought %d of %d tasks, %d replicas", len(purchase.tasks), len(buy.tasks), purchase.price)
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
