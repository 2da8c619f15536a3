"""Drives ``JobRun``: turns its instructions into effects, and their outcomes into events.

Runs on real machines, in the simulator and in tests differ only in their ``Effects``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

import attrs

from ec262.domain.errors import LimitReached, PurchaseTooExpensive
from ec262.domain.foreman.data.key_check import Clash
from ec262.domain.foreman.run import events as ev
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.protocol.foreman_calls import AcceptResults, AddReplicas, BuyTasks, Purchase, VerdictQuery, Verdicts
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.work.work import TaskName

logger = logging.getLogger(__name__)

Operation = Callable[[], Coroutine[Any, Any, ev.Event]]
"""Something that takes time and ends in an event."""


class Effects(Protocol):
    """What can be done for a run. The provider also hands the events to the driver: those of operations, dispatches,
    fetches, disputes and timers."""

    def now(self) -> float:
        """Return the time on the run's clock."""
        ...

    def new_purchase(self) -> str:
        """Return an id for a purchase."""
        ...

    # These ask discovery, and may wait.

    async def buy(self, command: BuyTasks) -> Purchase:
        """Buy tasks. Raises PurchaseTooExpensive, LimitReached."""
        ...

    async def add_replicas(self, command: AddReplicas) -> Purchase:
        """Add workers to tasks. Raises PurchaseTooExpensive, LimitReached."""
        ...

    async def verdicts(self, query: VerdictQuery) -> Verdicts:
        """Ask for verdicts."""
        ...

    async def accept(self, command: AcceptResults) -> Verdicts:
        """Accept provisional wins."""
        ...

    async def clash(self, doubted: Sequence[TaskName]) -> tuple[Clash | None, tuple[TaskName, ...]]:
        """Return the conflict that would end the job with an error, if any, and the doubted tasks that must be asked
        again before the conflict is believed."""
        ...

    async def start_reduce(self) -> tuple[TaskName, ...]:
        """Shuffle what the map phase has yielded; return the tasks of the reduce phase."""
        ...

    # These only start something.

    def begin(self, operation: Operation) -> None:
        """Start an operation."""
        ...

    def watch(self, operation: Operation) -> None:
        """Start an operation that waits for news, replacing an earlier one."""
        ...

    def wake(self, at: float) -> None:
        """Schedule ``TimerRang`` for this time, replacing an earlier one."""
        ...

    def dispatch(self, dispatch: ev.Dispatch) -> None:
        """Have a worker compute a task; its commitment or failure becomes an event."""
        ...

    def fetch(self, fetch: ev.Fetch) -> None:
        """Have a winner deliver its result; the outcome becomes an event."""
        ...

    def dispute(self, dispute: ev.Dispute) -> None:
        """Find out why workers differ; the answer is the event ``Diagnosed``."""
        ...


@attrs.frozen(kw_only=True)
class Terms:
    """The terms of a job's purchases, and how long discovery may hold back news of them."""

    requirement: Requirement
    deadline_s: float
    watch_s: float = 0.0


class JobDriver:
    """Drives one run."""

    def __init__(self, machine: JobRun, effects: Effects, terms: Terms) -> None:
        self._machine = machine
        self._effects = effects
        self._terms = terms
        self.finished = False
        """Whether the run has ended successfully."""

    def handle(self, event: ev.Event) -> None:
        """Pass an event to the machine, and carry out its instructions. Raises the error with which the run fails."""
        for instruction in self._machine.handle(event):
            self._carry_out(instruction)

    def _carry_out(self, instruction: ev.Instruction) -> None:
        match instruction:
            case ev.AskVerdicts(heard=None):
                self._effects.watch(partial(self._judged, instruction, wait_s=self._terms.watch_s))
            case ev.Dispatch():
                self._effects.dispatch(instruction)
            case ev.Fetch():
                self._effects.fetch(instruction)
            case ev.Dispute():
                self._effects.dispute(instruction)
            case ev.Wake():
                self._effects.wake(instruction.at)
            case ev.Finish():
                self.finished = True
            case ev.Fail():
                raise instruction.error
            case _:
                self._effects.begin(self._operation(instruction))

    def _operation(
        self, instruction: ev.Buy | ev.Extend | ev.AskVerdicts | ev.Accept | ev.CheckPhase | ev.StartReduce
    ) -> Operation:
        match instruction:
            case ev.Buy():
                return partial(self._bought, instruction)
            case ev.Extend():
                return partial(self._added, instruction)
            case ev.AskVerdicts():
                return partial(self._judged, instruction)
            case ev.Accept():
                return partial(self._accepted, instruction)
            case ev.CheckPhase():
                return partial(self._checked, instruction)
            case ev.StartReduce():
                return self._planned

    # --- operations -------------------------------------------------------------------------------------------------

    async def _bought(self, buy: ev.Buy) -> ev.Event:
        command = BuyTasks(
            purchase=self._effects.new_purchase(),
            tasks=len(buy.tasks),
            rule=buy.rule,
            requirement=self._terms.requirement,
            deadline_s=self._terms.deadline_s,
            avoid=buy.avoid,
        )
        try:
            reply = await self._effects.buy(command)
        except (PurchaseTooExpensive, LimitReached) as error:
            return self._refused(buy, error)
        logger.debug("bought %d of %d tasks, %d replicas", len(reply.tasks), len(buy.tasks), reply.price)
        return ev.Bought(now=self._effects.now(), asked=buy.tasks, tasks=reply.tasks, shortfall=reply.shortfall)

    async def _added(self, extend: ev.Extend) -> ev.Event:
        command = AddReplicas(
            purchase=self._effects.new_purchase(),
            orders=extend.orders,
            deadline_s=self._terms.deadline_s,
            avoid=extend.avoid,
        )
        try:
            reply = await self._effects.add_replicas(command)
        except (PurchaseTooExpensive, LimitReached) as error:
            return self._refused(extend, error)
        logger.debug("added %d workers to %d of %d tasks", reply.price, len(reply.tasks), len(extend.tasks))
        return ev.Added(now=self._effects.now(), asked=extend.tasks, tasks=reply.tasks, shortfall=reply.shortfall)

    def _refused(self, order: ev.Buy | ev.Extend, error: PurchaseTooExpensive | LimitReached) -> ev.Event:
        now = self._effects.now()
        if isinstance(error, LimitReached):
            return ev.LimitHit(now=now, asked=order.tasks, error=error)
        return ev.TooPoor(now=now, asked=order.tasks, have=error.have, need=error.need)

    async def _judged(self, ask: ev.AskVerdicts, *, wait_s: float = 0.0) -> ev.Event:
        reply = await self._effects.verdicts(VerdictQuery(tasks=ask.tasks, wait_s=wait_s))
        return ev.Judged(now=self._effects.now(), asked=ask.tasks, heard=ask.heard, verdicts=reply.verdicts)

    async def _accepted(self, accept: ev.Accept) -> ev.Event:
        reply = await self._effects.accept(AcceptResults(tasks=accept.tasks))
        return ev.Accepted(now=self._effects.now(), asked=accept.tasks, verdicts=reply.verdicts)

    async def _checked(self, check: ev.CheckPhase) -> ev.Event:
        clash, tasks = await self._effects.clash(check.doubted)
        return ev.PhaseChecked(now=self._effects.now(), error=clash.error if clash else None, tasks=tasks)

    async def _planned(self) -> ev.Event:
        tasks = await self._effects.start_reduce()
        return ev.PhasePlanned(now=self._effects.now(), tasks=tasks)


def at_once(operation: Operation) -> ev.Event:
    """Return the event in which an operation ends, if none of its effects waits."""
    coroutine = operation()
    try:
        coroutine.send(None)
    except StopIteration as end:
        event: ev.Event = end.value
        return event
    coroutine.close()
    raise AssertionError(f"{operation} did not finish at once")
