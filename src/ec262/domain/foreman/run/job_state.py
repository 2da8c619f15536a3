"""The tasks of a job, phase by phase, and how long they take."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from ec262.domain.foreman.run.pace import Pace
from ec262.domain.foreman.run.running_task import Attempt, RunningTask, Step, TaskBoard
from ec262.domain.protocol.foreman_calls import BoughtTask
from ec262.domain.work.work import Phase, TaskName

SELDOM = 3
"""How many pauses of the job's pace separate two questions whose answers mostly arrive unasked."""


class JobTasks:
    """The tasks of a job. The phase is ``Phase.MAP`` until a second one is planned."""

    def __init__(self) -> None:
        self._phase = Phase.MAP
        self._board = TaskBoard(())
        self._past: list[TaskBoard] = []
        self._by_id: dict[str, RunningTask] = {}
        self._pace = Pace()

    # --- phases -----------------------------------------------------------------------------------------------------

    def plan(self, names: Iterable[TaskName]) -> None:
        """Begin the first phase, or the second one after it."""
        if self._board:
            self._phase = Phase.REDUCE
            self._past.append(self._board)
        self._board = TaskBoard(names)
        self._pace = Pace()

    def grow(self, names: Iterable[TaskName]) -> None:
        """Add tasks to this phase."""
        self._board.add(names)

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self._phase

    def all(self) -> Iterator[RunningTask]:
        """Yield all tasks so far, starting with the first phase."""
        for board in (*self._past, self._board):
            yield from board

    # --- the tasks of this phase ------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._board)

    def __iter__(self) -> Iterator[RunningTask]:
        return iter(self._board)

    def __getitem__(self, name: TaskName) -> RunningTask:
        return self._board[name]

    def at(self, step: Step) -> Collection[RunningTask]:
        """Return the tasks in a state, in the order in which they entered it."""
        return self._board.at(step)

    def count(self, *steps: Step) -> int:
        """Return how many tasks are in one of these states."""
        return self._board.count(*steps)

    def move(self, task: RunningTask, trigger: str) -> None:
        """Move a task along a transition of the table."""
        self._board.move(task, trigger)

    def assign(self, task: RunningTask, bought: BoughtTask, now: float) -> Attempt:
        """Record that a task was bought under the rule that was chosen for it; return this purchase."""
        self._board.move(task, "assigned")
        self._by_id[bought.task] = task
        return task.assign(bought, now)

    def current(self, task_id: str, *steps: Step) -> tuple[RunningTask, Attempt] | None:
        """Return the task if this purchase of it is the current one and it is in one of these states. If not, the news
        is stale: return None."""
        task = self._by_id.get(task_id)
        if task is None or task.attempt is None or task.attempt.bought.task != task_id or task.step not in steps:
            return None
        return task, task.attempt

    # --- times ------------------------------------------------------------------------------------------------------

    def took(self, seconds: float) -> None:
        """Record how long another task has taken."""
        self._pace.took(seconds)

    @property
    def pause_s(self) -> float:
        """The pause between two questions of one kind."""
        return self._pace.pause_s

    @property
    def seldom_s(self) -> float:
        """The pause between two questions whose answers mostly arrive unasked."""
        return SELDOM * self._pace.pause_s
