"""Tasks as rows: a task's own, and one for each of its replicas."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from ec262.adapters.sql import schema
from ec262.adapters.sql.values import address_of, names_of, names_text, runtime_of, runtime_text
from ec262.domain.commands import TaskState
from ec262.domain.credibility import NOTHING_KNOWN, Trust
from ec262.domain.tasks import Replica, Task

Values = dict[str, Any]

_tasks, _replicas = schema.tasks, schema.replicas
_STATES = {state.value: state for state in TaskState}

CHANGING_TASK = ("state", "key", "digest", "deadline", "forgotten_at", "audited", "confidence", "released", "escrow")
"""What may change in a task once it is there."""

CHANGING_REPLICA = ("digest", "arrival", "paid", "given_up", "fetched", "trust_agreed", "trust_recent")
"""What may change in a replica once it is there."""

_progress_of_task = attrgetter(*CHANGING_TASK)
_progress_of_replica = attrgetter(*CHANGING_REPLICA[:-2], "trust.agreed", "trust.recent")

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
    _replicas.c.paid,
    _replicas.c.given_up,
    _replicas.c.fetched,
    _replicas.c.trust_agreed,
    _replicas.c.trust_recent,
)


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
    digest, audited, confidence, released = verdict
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
    )


def _replica(row: Sequence[Any]) -> Replica:
    _, worker, host, port, fingerprint, purchase, drawn_at, secret, delivery_secret, *progress = row
    digest, arrival, paid, given_up, fetched, agreed, recent = progress
    return Replica(
        worker=worker,
        address=address_of(host, port, fingerprint),
        purchase=purchase,
        drawn_at=drawn_at,
        secret=secret,
        delivery_secret=delivery_secret,
        digest=digest,
        arrival=arrival,
        paid=bool(paid),
        given_up=bool(given_up),
        fetched=bool(fetched),
        trust=Trust(agreed=agreed, recent=recent) if agreed or recent else NOTHING_KNOWN,
    )


def task_values(task: Task) -> Values:
    """Make a task's own row."""
    return {
        "id": task.id,
        "foreman": task.foreman,
        "rule": task.rule,
        "runtime": runtime_text(task.runtime),
        "packages": names_text(task.packages),
        "deadline": task.deadline,
        "forgotten_at": task.forgotten_at,
        "key": task.key,
        "state": task.state.value,
        "digest": task.digest,
        "audited": task.audited,
        "confidence": task.confidence,
        "released": task.released,
        "escrow": task.escrow,
    }


def replica_values(task: Task, *, since: int = 0) -> Iterator[Values]:
    """Make the rows of a task's replicas from a position on."""
    for position, replica in enumerate(task.replicas[since:], start=since):
        yield {
            "task": task.id,
            "worker": replica.worker,
            "position": position,
            "host": replica.address.host,
            "port": replica.address.port,
            "fingerprint": replica.address.fingerprint,
            "purchase": replica.purchase,
            "drawn_at": replica.drawn_at,
            "secret": replica.secret,
            "delivery_secret": replica.delivery_secret,
            "digest": replica.digest,
            "arrival": replica.arrival,
            "paid": replica.paid,
            "given_up": replica.given_up,
            "fetched": replica.fetched,
            "trust_agreed": replica.trust.agreed,
            "trust_recent": replica.trust.recent,
        }


def task_changes(before: Task, after: Task) -> Iterator[Values]:
    """Make the changes of a task's own row, if there are any."""
    changes = _changes(CHANGING_TASK, _progress_of_task(before), _progress_of_task(after))
    if changes:
        if "state" in changes:
            changes["state"] = after.state.value
        yield {"id": after.id, **changes}


def replica_changes(before: Task, after: Task) -> Iterator[Values]:
    """Make the changes of the rows of the replicas that a task had."""
    for old, new in zip(before.replicas, after.replicas, strict=False):
        if old is not new:
            changes = _changes(CHANGING_REPLICA, _progress_of_replica(old), _progress_of_replica(new))
            if changes:
                yield {"task": after.id, "worker": new.worker, **changes}


def _changes(names: Sequence[str], before: Sequence[Any], after: Sequence[Any]) -> Values:
    """Return what has changed. Less of it is less work for a database: it checks fewer constraints and indexes."""
    return {name: new for name, old, new in zip(names, before, after, strict=True) if old != new}
