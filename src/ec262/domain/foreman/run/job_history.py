"""What became of a job's tasks, for whoever tells people or checks it afterwards."""

from __future__ import annotations

import attrs

from ec262.domain.foreman.run.running_task import RunningTask
from ec262.domain.protocol.foreman_calls import Verdict
from ec262.domain.work.work import TaskName


@attrs.frozen(kw_only=True)
class ReplicaHistory:
    """One worker that was drawn, and what came of it, in words."""

    worker: str
    fate: str


@attrs.frozen(kw_only=True)
class Purchased:
    """One purchase of a task, additions included: its id at discovery, its ``rule`` as text, its workers in the order
    in which they were drawn, and why it was given up, if it was. ``verdict`` is discovery's last word
    that the foreman heard.
    """

    task: str
    rule: str
    replicas: tuple[ReplicaHistory, ...]
    why_lost: str = ""
    verdict: Verdict | None = None


@attrs.frozen(kw_only=True)
class TaskHistory:
    """A task as its foreman named it, and its purchases, the first in front; none as long as nobody was to be had."""

    name: TaskName
    purchases: tuple[Purchased, ...]


def task_history(task: RunningTask) -> TaskHistory:
    """Write down what became of a task so far."""
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
