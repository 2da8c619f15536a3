"""The history of a job's tasks, for reports and receipts."""

from __future__ import annotations

import attrs

from ec262.domain.foreman.run.running_task import RunningTask
from ec262.domain.protocol.foreman_calls import Verdict
from ec262.domain.work.work import TaskName


@attrs.frozen(kw_only=True)
class ReplicaHistory:
    """One drawn worker and its fate, in words."""

    worker: str
    fate: str


@attrs.frozen(kw_only=True)
class Purchased:
    """One purchase of a task, including additions: its id at discovery, its ``rule`` as text, its workers in the order
    in which they were drawn, and why it was given up, if it was. ``verdict`` is the last one that the foreman got from
    discovery.
    """

    task: str
    rule: str
    replicas: tuple[ReplicaHistory, ...]
    why_lost: str = ""
    verdict: Verdict | None = None


@attrs.frozen(kw_only=True)
class TaskHistory:
    """A task by its foreman's name, and its purchases, oldest first; none if no workers were available so far."""

    name: TaskName
    purchases: tuple[Purchased, ...]


def task_history(task: RunningTask) -> TaskHistory:
    """Return the history of a task so far."""
    purchases = tuple(
        Purchased(
            task=attempt.bought.task,
            rule=attempt.rule.spec,
            replicas=tuple(
                ReplicaHistory(worker=replica.worker, fate=attempt.fate(replica.worker))
                for replica in attempt.bought.replicas
            ),
            why_lost=attempt.why_lost,
            verdict=attempt.verdict,
        )
        for attempt in task.attempts
    )
    return TaskHistory(name=task.name, purchases=purchases)
