"""A storage that tells how many tasks were bought and how they fared, once that is durable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

from ec262.domain.discovery.tasks import Task
from ec262.domain.discovery.unit_of_work import (
    AccountRepository,
    AnchorRepository,
    Holdings,
    InvitationRepository,
    Ledger,
    PoolRepository,
    Process,
    PurchaseRepository,
    ReportRepository,
    ReputationRepository,
    TaskRepository,
    UnitOfWork,
)
from ec262.domain.verification.task_state import TaskState

BOUGHT = "bought"

Tasks = TypeVar("Tasks", bound=Collection[Task])

Report = Callable[[Mapping[str, int]], None]
"""Is told events and their numbers: ``bought``, and the names of the states that tasks came into."""


class MeteredTasks:
    """The TaskRepository of a unit of work; notes what happens to tasks."""

    def __init__(self, tasks: TaskRepository) -> None:
        self._tasks = tasks
        self._states: dict[str, TaskState] = {}
        self.events: Counter[str] = Counter()

    def add(self, tasks: Collection[Task]) -> None:
        """Store new tasks."""
        self._tasks.add(tasks)
        self.events[BOUGHT] += len(tasks)
        self._seen(tasks)

    def save(self, tasks: Collection[Task]) -> None:
        """Store tasks as they are now."""
        self._tasks.save(tasks)
        known = self._states
        moved = Counter([task.state for task in tasks if known.get(task.id) is not task.state])
        self.events.update({state.value: times for state, times in moved.items()})
        self._seen(tasks)

    def find(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist."""
        return self._tasks.find(tasks)

    def locked(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist, and lock them."""
        return self._seen(self._tasks.locked(tasks))

    def of_purchase(self, purchase: str) -> Sequence[Task]:
        """Return the tasks that have replicas of a purchase."""
        return self._tasks.of_purchase(purchase)

    def due(self, now: float, *, limit: int) -> Sequence[Task]:
        """Return, and lock, tasks whose deadline passed."""
        return self._seen(self._tasks.due(now, limit=limit))

    def busy(self, now: float) -> Mapping[Process, int]:
        """Return how many replicas take each worker's slots."""
        return self._tasks.busy(now)

    def late(self) -> Mapping[Process, int]:
        """Return how many replicas of decided tasks each worker may still be computing."""
        return self._tasks.late()

    def holdings(self, foreman: str) -> Holdings:
        """Return what a foreman has under way."""
        return self._tasks.holdings(foreman)

    def forget(self, now: float) -> None:
        """Drop what is to be forgotten."""
        self._tasks.forget(now)

    def _seen(self, tasks: Tasks) -> Tasks:
        self._states.update([(task.id, task.state) for task in tasks])
        return tasks


class MeteredUnitOfWork:
    """A unit of work around another; ``report`` is called after each commit that moved tasks."""

    tasks: MeteredTasks

    def __init__(self, inner: UnitOfWork, report: Report) -> None:
        self._inner = inner
        self._report = report

    @property
    def accounts(self) -> AccountRepository:
        """The accounts."""
        return self._inner.accounts

    @property
    def invitations(self) -> InvitationRepository:
        """Codes that bring credits."""
        return self._inner.invitations

    @property
    def reports(self) -> ReportRepository:
        """Which winners did not deliver."""
        return self._inner.reports

    @property
    def reputations(self) -> ReputationRepository:
        """How far workers are known."""
        return self._inner.reputations

    @property
    def anchors(self) -> AnchorRepository:
        """The workers that the operator vouches for."""
        return self._inner.anchors

    @property
    def ledger(self) -> Ledger:
        """The books."""
        return self._inner.ledger

    @property
    def pool(self) -> PoolRepository:
        """The leases of workers."""
        return self._inner.pool

    @property
    def purchases(self) -> PurchaseRepository:
        """The ids that foremen made."""
        return self._inner.purchases

    def __enter__(self) -> Self:
        self._inner.__enter__()
        self.tasks = MeteredTasks(self._inner.tasks)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)

    def commit(self) -> None:
        """Commit, then report."""
        self._inner.commit()
        if self.tasks.events:
            self._report(dict(self.tasks.events))
            self.tasks.events.clear()
