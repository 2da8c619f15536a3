"""One task of a running job, as its foreman sees it: its states, and the purchases made of it.

::

    WANTED --buy--> BUYING --assigned--> RUNNING --won--> FETCHING --delivered--> DONE
       ^               |                    |                 |
       +--unassigned---+                    |                 |
       +--------------lost------------------+-----------------+

Whatever is not in the table is an error of the caller.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable

import attrs

from ec262.domain.commands import BoughtReplica, BoughtTask, Verdict
from ec262.domain.job import TaskName


class Step(enum.Enum):
    """States of a task, as its foreman sees it."""

    WANTED = "wanted"
    BUYING = "buying"
    RUNNING = "running"
    FETCHING = "fetching"
    DONE = "done"


TRANSITIONS: dict[tuple[Step, str], Step] = {
    (Step.WANTED, "buy"): Step.BUYING,
    (Step.BUYING, "assigned"): Step.RUNNING,
    (Step.BUYING, "unassigned"): Step.WANTED,
    (Step.RUNNING, "won"): Step.FETCHING,
    (Step.RUNNING, "lost"): Step.WANTED,
    (Step.FETCHING, "lost"): Step.WANTED,
    (Step.FETCHING, "delivered"): Step.DONE,
}


@attrs.define(kw_only=True)
class Attempt:
    """One purchase of a task: what each of its replicas has come to so far."""

    bought: BoughtTask
    deadline: float
    committed: set[str] = attrs.Factory(set)
    ended: dict[str, str] = attrs.Factory(dict)
    limits: dict[str, tuple[str, str]] = attrs.Factory(dict)
    untried: list[str] = attrs.Factory(list)
    verdict: Verdict | None = None
    doomed: bool = False
    """Whether discovery has said that nobody will commit any more."""

    @property
    def began(self) -> float:
        """When it was bought."""
        return self.deadline - self.bought.deadline_s

    @property
    def heard(self) -> int:
        """How many replicas have committed or ended, as far as is known."""
        return len(self.committed) + len(self.ended)

    def replica(self, worker: str) -> BoughtReplica:
        """Return the replica that this worker was assigned."""
        return next(replica for replica in self.bought.replicas if replica.worker == worker)

    @property
    def outstanding(self) -> int:
        """How many replicas may still commit."""
        return sum(
            replica.worker not in self.committed and replica.worker not in self.ended
            for replica in self.bought.replicas
        )

    def history(self, number: int, why: str) -> list[str]:
        """Return a line for people about each replica of the ``number``-th purchase, lost because of ``why``."""
        lines = []
        for replica in self.bought.replicas:
            worker = replica.worker
            came_to = self.ended.get(worker) or ("committed a result" if worker in self.committed else "gave no result")
            where = f"{replica.address.host}:{replica.address.port}"
            lines.append(f"purchase {number} ({why}), worker {worker[:8]} at {where}: {came_to}")
        return lines


@attrs.define(kw_only=True)
class RunningTask:
    """A task, how often it was bought, and what became of its earlier purchases."""

    name: TaskName
    step: Step = Step.WANTED
    purchases: int = 0
    attempt: Attempt | None = None
    history: list[str] = attrs.Factory(list)


class TaskBoard:
    """The tasks of one phase, sorted by state, so that no event costs more for a phase of many tasks."""

    def __init__(self, names: Iterable[TaskName]) -> None:
        self._tasks = {name: RunningTask(name=name) for name in names}
        self._by_step: dict[Step, dict[TaskName, RunningTask]] = {step: {} for step in Step}
        self._by_step[Step.WANTED].update(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __getitem__(self, name: TaskName) -> RunningTask:
        return self._tasks[name]

    def at(self, step: Step) -> Collection[RunningTask]:
        """Return the tasks in a state, those that came to it first in front."""
        return self._by_step[step].values()

    def move(self, task: RunningTask, trigger: str) -> None:
        """Let a task go through a transition of the table."""
        step = TRANSITIONS.get((task.step, trigger))
        if step is None:
            raise AssertionError(f"{task.name} cannot go by {trigger!r} from {task.step}")
        del self._by_step[task.step][task.name]
        self._by_step[step][task.name] = task
        task.step = step
