"""Tasks that need not be read again."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice

import attrs
from sqlalchemy import Connection

from ec262.adapters.sql.engine.dialects import is_postgresql
from ec262.domain.discovery.tasks import Task

MOST = 5_000
"""Tasks that a connection to SQLite keeps, about 4 kB each; the ones it came to know first are dropped."""

_TASKS, _VERSION = "ec262_tasks", "ec262_data_version"


@attrs.define
class KnownTasks:
    """Tasks as they are stored, as far as a transaction has read or written them under its locks.

    ``lasting`` are what the transactions of one connection hand on to each other. They are as stored for as long as
    nobody else writes.
    """

    lasting: bool
    _tasks: dict[str, Task]
    _is_durable: bool = True

    def among(self, tasks: Collection[str]) -> list[Task]:
        """Return those of the tasks that are known, in the order of their ids."""
        known = self._tasks
        return [known[task] for task in sorted(set(tasks)) if task in known]

    def unknown(self, tasks: Collection[str]) -> list[str]:
        """Return the ids of those that are not."""
        known = self._tasks
        return [task for task in tasks if task not in known]

    def read(self, tasks: Iterable[Task]) -> None:
        """Note tasks that were read."""
        self._tasks.update([(task.id, task) for task in tasks])

    def wrote(self, tasks: Iterable[Task]) -> None:
        """Note tasks that were written, but are not durable yet."""
        self._is_durable = False
        self.read(tasks)

    def dropped(self, tasks: Collection[str]) -> None:
        """Note that tasks are there no more."""
        for task in tasks:
            self._tasks.pop(task, None)

    def committed(self) -> None:
        """Note that what was written is durable, and that locks are gone."""
        self._is_durable = True
        self._keep(MOST if self.lasting else 0)

    def ended(self) -> None:
        """Note that what was not committed was undone."""
        self._keep(MOST if self._is_durable else 0)

    def _keep(self, most: int) -> None:
        excess = len(self._tasks) - most
        for task in list(islice(self._tasks, max(0, excess))):
            del self._tasks[task]


def known_tasks(connection: Connection, *, exclusive: bool) -> KnownTasks:
    """Return what a transaction, which has begun, knows of tasks. ``exclusive`` ones let nobody else write."""
    if exclusive and not is_postgresql(connection):
        return KnownTasks(lasting=True, tasks=connection.info.setdefault(_TASKS, {}))
    return KnownTasks(lasting=False, tasks={})


def forget_if_others_wrote(connection: Connection) -> None:
    """Drop what a connection to SQLite has kept if another one, of whatever process, has written since it last asked.

    To be called at the beginning of a transaction that lets nobody else write. SQLite's ``data_version`` changes with
    what others commit, not with what the connection itself does (its documentation, PRAGMA data_version).
    """
    version = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
    if connection.info.get(_VERSION) != version:
        connection.info[_VERSION] = version
        connection.info.setdefault(_TASKS, {}).clear()
