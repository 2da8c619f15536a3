"""A run on real machines: performs its effects through the ports, as tasks beside the loop that hands out events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from ec262.domain.foreman.data.key_check import Clash
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.foreman.job.plan import Plan, plan_reduce
from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.running_task import DELIVERED, UNDER_WAY
from ec262.domain.ports.progress import JobStatus
from ec262.domain.protocol.foreman_calls import AcceptResults, AddReplicas, BuyTasks, Purchase, VerdictQuery, Verdicts
from ec262.domain.work.work import Phase, TaskName
from ec262.services.foreman.data.job_data import JobData
from ec262.services.foreman.foreman_policy import ForemanPolicy, ForemanPorts
from ec262.services.foreman.job_driver import JobDriver, Operation, Terms
from ec262.services.foreman.job_workers import JobWorkers

logger = logging.getLogger(__name__)


class JobExecution:
    """One run of one job, and the ``Effects`` of its driver. Use it once."""

    def __init__(self, ports: ForemanPorts, policy: ForemanPolicy, job: Job, plan: Plan, data: JobData) -> None:
        self._ports = ports
        self._policy = policy
        self._plan = plan
        self._machine = JobRun(policy.run)
        terms = Terms(requirement=job.requirement, deadline_s=policy.deadline_s, watch_s=policy.watch_s)
        self._driver = JobDriver(self._machine, self, terms)
        self._data = data
        self._credits = plan.purse
        self._note = ""
        self._events: asyncio.Queue[ev.Event | Exception] = asyncio.Queue()
        self._operations: set[asyncio.Task[None]] = set()
        self._workers = JobWorkers(ports, policy, job, data)
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def machine(self) -> JobRun:
        """The run's state machine, which knows what became of its tasks."""
        return self._machine

    async def run(self) -> None:
        """Run the job; its result is then in ``data``. Raises the error that ends it."""
        try:
            hold = self._policy.slots is not None
            names = self._planned(Phase.MAP, self._data.cut_map(self._plan, self._grow, hold=hold))
            self._follow(ev.PhasePlanned(now=self.now(), tasks=names))
            while not self._driver.finished:
                event = await self._events.get()
                if isinstance(event, Exception):
                    raise event
                self._follow(event)
        finally:
            await self._close()

    def _follow(self, event: ev.Event) -> None:
        self._driver.handle(event)
        self._show()

    def _planned(self, phase: Phase, names: tuple[TaskName, ...]) -> tuple[TaskName, ...]:
        logger.info("%s phase: %d task(s)%s", phase.value, len(names), " at first" * (self._data.tasks_to_come > 0))
        return names

    def _grow(self, names: tuple[TaskName, ...]) -> None:
        self._events.put_nowait(ev.PhaseGrew(now=self.now(), tasks=names))

    def _show(self) -> None:
        running, wait = self._machine.count(*UNDER_WAY), self._machine.waiting
        note = "" if running else self._note  # while tasks run, waiting for a free slot is normal
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

    # --- effects: what is begun -------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the time on the ports' clock."""
        return self._ports.clock()

    def begin(self, operation: Operation) -> None:
        """Run an operation beside the loop."""
        self._spawn(operation)

    def watch(self, operation: Operation) -> None:
        """Run an operation beside the loop, replacing an earlier one."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._spawn(operation)

    def dispatch(self, dispatch: ev.Dispatch) -> None:
        """Have a worker compute a task."""
        self._spawn(partial(self._workers.dispatch, dispatch))

    def fetch(self, fetch: ev.Fetch) -> None:
        """Fetch a winner's result into the job's data."""
        self._spawn(partial(self._workers.fetch, fetch))

    def dispute(self, dispute: ev.Dispute) -> None:
        """Find out why workers differ."""
        self._spawn(partial(self._workers.diagnose, dispute))

    def wake(self, at: float) -> None:
        """Set the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self.now()), self._ring)

    def _ring(self) -> None:
        self._events.put_nowait(ev.TimerRang(now=self.now()))

    def _spawn(self, operation: Callable[[], Awaitable[ev.Event]]) -> asyncio.Task[None]:
        """Run an operation beside the loop; its event, or its error, arrives through the queue."""

        async def report() -> None:
            try:
                self._events.put_nowait(await operation())
            except Exception as error:  # noqa: BLE001 - raised again by the loop, which ends the run
                self._events.put_nowait(error)

        task = asyncio.create_task(report())
        self._operations.add(task)
        task.add_done_callback(self._operations.discard)
        return task

    # --- effects: what discovery is asked, and the shuffle ----------------------------------------------------------

    def new_purchase(self) -> str:
        """Return a random id, which nobody can guess."""
        return self._ports.entropy.token(16).hex()

    async def buy(self, command: BuyTasks) -> Purchase:
        """Buy tasks."""
        return self._noted(await self._ports.discovery.buy(command))

    async def add_replicas(self, command: AddReplicas) -> Purchase:
        """Add workers to tasks."""
        return self._noted(await self._ports.discovery.add_replicas(command))

    def _noted(self, purchase: Purchase) -> Purchase:
        self._credits = purchase.credits
        self._note = "" if purchase.tasks else purchase.shortfall
        return purchase

    async def verdicts(self, query: VerdictQuery) -> Verdicts:
        """Ask for verdicts."""
        return await self._ports.discovery.verdicts(query)

    async def accept(self, command: AcceptResults) -> Verdicts:
        """Accept provisional wins."""
        return await self._ports.discovery.accept(command)

    async def clash(self, doubted: Sequence[TaskName]) -> tuple[Clash | None, tuple[TaskName, ...]]:
        """Check whether the keys of the phase can coexist."""
        return await self._data.clash(doubted)

    async def start_reduce(self) -> tuple[TaskName, ...]:
        """Shuffle, and cut the reduce phase according to the credits that are left."""
        await self._workers.end_phase()
        await self._data.shuffle()
        status = await self._ports.discovery.open_account()
        self._credits = status.credits
        sizes = self._data.sizes
        tasks = plan_reduce(sizes, self._plan, purse=status.credits) if sizes else 0
        return self._planned(Phase.REDUCE, self._data.cut(Phase.REDUCE, tasks))
