"""Tasks as rows: a task's own, and one for each of its replicas."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import Any

from ec262.adapters.sql.schema import schema
from ec262.adapters.sql.values import address_of, names_of, names_text, runtime_of, runtime_text
from ec262.domain.discovery.tasks import Replica, Task
from ec262.domain.verification.credibility import NOTHING_KNOWN, Trust
from ec262.domain.verification.task_state import TaskState

Row = tuple[Any, ...]

_tasks, _replicas = schema.tasks, schema.replicas
_STATES = {state.value: state for state in TaskState}
_WORDS = {state: state.value for state in TaskState}

CHANGING_TASK = (
    "state",
    "escrow",
    "key",
    "digest",
    "deadline",
    "forgotten_at",
    "audited",
    "confidence",
    "released",
    "steered",
)
"""What may change in a task once it is there."""

CHANGING_REPLICA = ("digest", "arrival", "stopped", "paid", "given_up", "fetched", "trust_agreed", "trust_recent")
"""What may change in a replica once it is there."""

TASK_COLUMNS = (
    _tasks.c.id,
    _tasks.c.foreman,
    _tasks.c.rule,
    _tasks.c.runtime,
    _tasks.c.packages,
    _tasks.c.deadline,
    _tasks.c.forgotten_at,
    _tasks.c.key,
    _tasks.c.state,
    _tasks.c.digest,
    _tasks.c.audited,
    _tasks.c.confidence,
    _tasks.c.released,
    _tasks.c.steered,
)
REPLICA_COLUMNS = (
    _replicas.c.task,
    _replicas.c.worker,
    _replicas.c.host,
    _replicas.c.port,
    _replicas.c.fingerprint,
    _replicas.c.purchase,
    _replicas.c.drawn_at,
    _replicas.c.secret,
    _replicas.c.delivery_secret,
    _replicas.c.digest,
    _replicas.c.arrival,
    _replicas.c.stopped,
    _replicas.c.paid,
    _replicas.c.given_up,
    _replicas.c.fetched,
    _replicas.c.trust_agreed,
    _replicas.c.trust_recent,
)

TASK_NAMES = tuple(column.name for column in _tasks.columns)
REPLICA_NAMES = tuple(column.name for column in _replicas.columns)


def tasks_of(task_rows: Iterable[Sequence[Any]], replica_rows: Iterable[Sequence[Any]]) -> list[Task]:
    """Make tasks of rows with the columns above; a task's replicas are in their order."""
    replicas: defaultdict[str, list[Replica]] = defaultdict(list)
    for row in replica_rows:
        replicas[row[0]].append(_replica(row))
    return [_task(row, tuple(replicas[row[0]])) for row in task_rows]


def tasks_of_joined(rows: Iterable[Sequence[Any]]) -> list[Task]:
    """Make tasks of rows that have both, a task's columns and then those of one of its replicas."""
    width = len(TASK_COLUMNS)
    return tasks_of({row[0]: row[:width] for row in rows}.values(), [row[width:] for row in rows])


def _task(row: Sequence[Any], replicas: tuple[Replica, ...]) -> Task:
    name, foreman, rule, runtime, packages, deadline, forgotten_at, key, state, *verdict = row
    digest, audited, confidence, released, steered = verdict
    return Task(
        id=name,
        foreman=foreman,
        rule=rule,
        runtime=runtime_of(runtime),
        packages=names_of(packages),
        deadline=deadline,
        forgotten_at=forgotten_at,
        key=key,
        replicas=replicas,
        state=_STATES[state],
        digest=digest,
        audited=bool(audited),
        confidence=confidence,
        released=bool(released),
        steered=bool(steered),
    )


def _replica(row: Sequence[Any]) -> Replica:
    _, worker, host, port, fingerprint, purchase, drawn_at, secret, delivery_secret, *progress = row
    digest, arrival, stopped, paid, given_up, fetched, agreed, recent = progress
    return Replica(
        worker=worker,
        address=address_of(host, port, fingerprint),
        purchase=purchase,
        drawn_at=drawn_at,
        secret=secret,
        delivery_secret=delivery_secret,
        digest=digest,
        arrival=arrival,
        stopped=bool(stopped),
        paid=bool(paid),
        given_up=bool(given_up),
        fetched=bool(fetched),
        trust=Trust(agreed=agreed, recent=recent) if agreed or recent else NOTHING_KNOWN,
    )


def task_row(task: Task) -> Row:
    """Make a task's own row, of ``TASK_NAMES``."""
    return (
        task.id,
        task.foreman,
        task.rule,
        runtime_text(task.runtime),
        names_text(task.packages),
        task.deadline,
        task.forgotten_at,
        task.key,
        _WORDS[task.state],
        task.digest,
        task.audited,
        task.confidence,
        task.released,
        task.escrow,
        task.steered,
    )


def replica_rows(task: Task, *, since: int = 0) -> Iterator[Row]:
    """Make the rows of a task's replicas from a position on, of ``REPLICA_NAMES``."""
    for position, replica in enumerate(task.replicas[since:], start=since):
        address = replica.address
        yield (
            task.id,
            replica.worker,
            position,
            address.host,
            address.port,
            address.fingerprint,
            replica.purchase,
            replica.drawn_at,
            replica.secret,
            replica.delivery_secret,
            *_progress_of_replica(replica),
        )


Groups = dict[tuple[bool, ...], list[Row]]
"""Rows that have the same changed: of each, the new values and then its keys."""


def changed_rows(changes: Iterable[tuple[Task, Task]]) -> tuple[Groups, Groups]:
    """Make the changes of tasks' own rows, by which of ``CHANGING_TASK`` it is, and of the rows of the replicas that
    they had, by which of ``CHANGING_REPLICA``. What has not changed is not written: less of it is less work for a
    database, which checks fewer constraints and indexes."""
    tasks: defaultdict[tuple[bool, ...], list[Row]] = defaultdict(list)
    replicas: defaultdict[tuple[bool, ...], list[Row]] = defaultdict(list)
    for before, after in changes:
        moved = before.state is not after.state or len(before.replicas) != len(after.replicas)
        for old, new in zip(before.replicas, after.replicas, strict=False):
            if old is not new:
                which = _changed_of_replica(old, new)
                if True in which:
                    replicas[which].append((*compress(_progress_of_replica(new), which), after.id, new.worker))
                    moved = moved or old.paid is not new.paid
        which = _changed_of_task(before, after, moved=moved)
        if True in which:
            tasks[which].append((*compress(_progress_of_task(after), which), after.id))
    return tasks, replicas


# One copy of a value hands on to the next what does not change in it: comparing is mostly finding the same object.


def _changed_of_task(before: Task, after: Task, *, moved: bool) -> tuple[bool, ...]:
    """Tell which of ``CHANGING_TASK`` has changed; unless credits ``moved`` or may have, the escrow has not."""
    return (
        before.state is not after.state,
        moved and before.escrow != after.escrow,
        before.key is not after.key,
        before.digest is not after.digest,
        before.deadline != after.deadline,
        before.forgotten_at != after.forgotten_at,
        before.audited is not after.audited,
        before.confidence != after.confidence,
        before.released is not after.released,
        before.steered is not after.steered,
    )


def _progress_of_task(task: Task) -> Row:
    return (
        _WORDS[task.state],
        task.escrow,
        task.key,
        task.digest,
        task.deadline,
        task.forgotten_at,
        task.audited,
        task.confidence,
        task.released,
        task.steered,
    )


def _changed_of_replica(old: Replica, new: Replica) -> tuple[bool, ...]:
    known = old.trust is not new.trust
    return (
        old.digest is not new.digest,
        old.arrival != new.arrival,
        old.stopped is not new.stopped,
        old.paid is not new.paid,
        old.given_up is not new.given_up,
        old.fetched is not new.fetched,
        known,
        known,
    )


def _progress_of_replica(replica: Replica) -> Row:
    trust = replica.trust
    return (
        replica.digest,
        replica.arrival,
        replica.stopped,
        replica.paid,
        replica.given_up,
        replica.fetched,
        trust.agreed,
        trust.recent,
    )
