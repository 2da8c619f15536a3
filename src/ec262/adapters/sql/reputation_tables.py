"""What is known of workers over one open transaction: a few statements for all workers of a batch of tasks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import bindparam, func, insert, select, text

from ec262.adapters.sql.engine.dialects import one_of, upsert
from ec262.adapters.sql.engine.statements import Statements
from ec262.adapters.sql.schema import schema
from ec262.adapters.sql.values import runtime_key, runtime_of
from ec262.domain.discovery.reputation import EVERYBODY, Reputation
from ec262.domain.work.runtime import RuntimeClass

Row = tuple[Any, ...]

FORGET_LIMIT = 1_000
"""Most reputations that one call forgets: others wait for it. What is left comes with the next call."""

_reputations = schema.standings
_NAMES = tuple(column.name for column in _reputations.columns)
_KEYS = tuple(column.name for column in _reputations.primary_key.columns)

_FIND = select(_reputations).where(one_of(_reputations.c.worker, "workers"), one_of(_reputations.c.foreman, "foremen"))
_LOCK = _FIND.order_by(*_reputations.primary_key.columns).with_for_update()
_MAKE = text(str(insert(_reputations).compile()) + " ON CONFLICT DO NOTHING")
_SAVE = upsert(_reputations)
_CAUGHT = select(_reputations).where(
    _reputations.c.caught_at >= bindparam("since"), one_of(_reputations.c.foreman, "foremen")
)
_ALARMS = (
    select(_reputations.c.foreman, func.max(_reputations.c.alarmed_at))
    .where(_reputations.c.alarmed_at >= bindparam("since"), one_of(_reputations.c.foreman, "foremen"))
    .group_by(_reputations.c.foreman)
)

_OLD = (
    select(*_reputations.primary_key.columns)
    .where(_reputations.c.as_of <= bindparam("before"))
    .limit(FORGET_LIMIT)
    .with_for_update(skip_locked=True)
)
_FORGET = text("DELETE FROM standings WHERE worker = :worker AND runtime = :runtime AND foreman = :foreman")


class SqlReputations:
    """Reputations; what one foreman knows of a worker is locked with the general reputation, which is made for that."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def find(self, workers: Collection[str], foremen: Collection[str]) -> Sequence[Reputation]:
        """Return the general reputations of these workers and the foremen's own."""
        names = {"workers": sorted(set(workers)), "foremen": [EVERYBODY, *foremen]}
        return list(map(_reputation, self._statements.fetch(_FIND, names)))

    def locked(self, known: Collection[tuple[str, RuntimeClass]], foremen: Collection[str]) -> Sequence[Reputation]:
        """Return the same of workers in a runtime each, and lock it. General reputations that are not there are made
        first, in order, and then all are locked in the same order, which avoids deadlocks."""
        if not known:
            return []
        blank = {
            (worker, runtime_key(runtime)): Reputation(worker=worker, runtime=runtime) for worker, runtime in known
        }
        self._statements.change_each(_MAKE, _NAMES, [_row(blank[key]) for key in sorted(blank)])
        names = {"workers": sorted({worker for worker, _ in blank}), "foremen": [EVERYBODY, *foremen]}
        rows = self._statements.fetch(_LOCK, names)
        return [_reputation(row) for row in rows if (row[0], row[1]) in blank]

    def save(self, reputations: Collection[Reputation]) -> None:
        """Store reputations as they are now."""
        self._statements.change_each(_SAVE, _NAMES, _in_order(map(_row, reputations)))

    def caught_since(self, at: float, foremen: Collection[str]) -> Sequence[Reputation]:
        """Return the general reputations and the foremen's own of those who were caught lying at that time or later."""
        names = {"since": at, "foremen": [EVERYBODY, *sorted(set(foremen))]}
        return list(map(_reputation, self._statements.fetch(_CAUGHT, names)))

    def alarms(self, foremen: Collection[str], since: float) -> Mapping[str, float]:
        """Return the time of the last alarm of each of these foremen that had one at that time or later."""
        found = self._statements.fetch(_ALARMS, {"since": since, "foremen": sorted(set(foremen))})
        return {foreman: float(at) for foreman, at in found}

    def forget(self, before: float) -> None:
        """Drop reputations that are so old."""
        old = self._statements.fetch(_OLD, {"before": before})
        self._statements.change_each(_FORGET, _KEYS, old)


def _in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=itemgetter(*map(_NAMES.index, _KEYS)))


def _reputation(row: Sequence[Any]) -> Reputation:
    values = dict(zip(_NAMES, row, strict=True))
    read = {
        "runtime": runtime_of(values["runtime"]),
        "partners": tuple(values["partners"].split()),
        "accusers": tuple([_accuser(text) for text in values["accusers"].split()]),
    }
    return Reputation(**values | read)


def _accuser(text: str) -> tuple[str, float]:
    tag, at = text.split("@")
    return tag, float(at)


def _row(reputation: Reputation) -> Row:
    written = {
        "runtime": runtime_key(reputation.runtime),
        "partners": " ".join(reputation.partners),
        "accusers": " ".join([f"{tag}@{at!r}" for tag, at in reputation.accusers]),
    }
    return tuple(written[name] if name in written else getattr(reputation, name) for name in _NAMES)
