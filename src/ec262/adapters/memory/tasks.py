"""Tasks in memory, with an index for every question that is asked of many at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from ec262.adapters.memory.table import Journal
from ec262.domain.discovery.task_states import RUNNING
from ec262.domain.discovery.tasks import Task
from ec262.domain.discovery.unit_of_work import Holdings, Process
from ec262.domain.verification.task_state import TaskState


class MemoryTasks:
    """All tasks. What is looked through is never more than what the answer is about: tasks that workers are busy with,
    deadlines that passed, a purchase's tasks."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tasks: dict[str, Task] = {}
        self._computed: dict[str, Task] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._ends: list[tuple[float, str]] = []
        self._purchases: defaultdict[str, set[str]] = defaultdict(set)
        self._held: Counter[str] = Counter()
        self._escrow: Counter[str] = Counter()

    def add(self, tasks: Collection[Task]) -> None:
        """Store new tasks."""
        self.save(tasks)

    def save(self, tasks: Collection[Task]) -> None:
        """Store tasks as they are now."""
        for task in tasks:
            self._change(task.id, task)

    def find(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist, in the order of their ids."""
        return [self._tasks[task] for task in sorted(set(tasks)) if task in self._tasks]

    def locked(self, tasks: Collection[str]) -> Sequence[Task]:
        """Return those of the tasks that exist, in the order of their ids."""
        return self.find(tasks)

    def of_purchase(self, purchase: str) -> Sequence[Task]:
        """Return the tasks that have replicas of a purchase, in the order of their ids."""
        return self.find(self._purchases.get(purchase, ()))

    def due(self, now: float, *, limit: int) -> Sequence[Task]:
        """Return up to ``limit`` tasks whose deadline passed without having been applied, the earliest first."""
        count = bisect_right(self._deadlines, now, key=_when)
        return [self._tasks[task] for _, task in self._deadlines[: min(count, limit)]]

    def busy(self, now: float) -> Mapping[Process, int]:
        """Return, for each process, how many replicas of open tasks take its slots."""
        return Counter(
            (replica.worker, replica.address.fingerprint)
            for task in self._computed.values()
            if task.state is TaskState.OPEN
            for replica in task.replicas
            if replica.takes_slot(now, deadline=task.deadline)
        )

    def late(self) -> Mapping[Process, int]:
        """Return, for each process, how many replicas of decided tasks it may still be computing."""
        return Counter(
            (replica.worker, replica.address.fingerprint)
            for task in self._computed.values()
            if task.state is not TaskState.OPEN
            for replica in task.replicas
            if replica.is_late
        )

    def holdings(self, foreman: str) -> Holdings:
        """Return what a foreman has under way."""
        return Holdings(tasks=self._held[foreman], credits=self._escrow[foreman])

    def forget(self, now: float) -> None:
        """Drop the tasks to be forgotten whose deadline was applied."""
        for _, task in self._ends[: bisect_right(self._ends, now, key=_when)]:
            if self._tasks[task].state not in RUNNING:
                self._change(task, None)

    def _change(self, name: str, after: Task | None) -> None:
        before = self._tasks.get(name)
        self._journal.append(partial(self._replace, name, after, before))
        self._replace(name, before, after)

    def _replace(self, name: str, before: Task | None, after: Task | None) -> None:
        if after is None:
            self._tasks.pop(name, None)
        else:
            self._tasks[name] = after
        _move(self._ends, _end(before), _end(after))
        _move(self._deadlines, _deadline(before), _deadline(after))
        if before is None or after is None or len(before.replicas) != len(after.replicas):
            self._list_purchases(name, before, after)
        if after is not None and after.outstanding:
            self._computed[name] = after
        else:
            self._computed.pop(name, None)
        for task, sign in ((before, -1), (after, 1)):
            if task is not None and task.escrow:
                self._held[task.foreman] += sign
                self._escrow[task.foreman] += sign * task.escrow

    def _list_purchases(self, name: str, before: Task | None, after: Task | None) -> None:
        for purchase in {replica.purchase for replica in before.replicas} if before else ():
            self._purchases[purchase].discard(name)
            if not self._purchases[purchase]:
                del self._purchases[purchase]
        for purchase in {replica.purchase for replica in after.replicas} if after else ():
            self._purchases[purchase].add(name)


Entry = tuple[float, str]


def _end(task: Task | None) -> Entry | None:
    return None if task is None else (task.forgotten_at, task.id)


def _deadline(task: Task | None) -> Entry | None:
    return None if task is None or task.state not in RUNNING else (task.deadline, task.id)


def _move(entries: list[Entry], before: Entry | None, after: Entry | None) -> None:
    """Replace an entry of a sorted list."""
    if before == after:
        return
    if before is not None:
        del entries[bisect_left(entries, before)]
    if after is not None:
        insort(entries, after)


def _when(entry: Entry) -> float:
    return entry[0]
