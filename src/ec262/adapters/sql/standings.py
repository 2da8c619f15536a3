"""What is known of workers over one open transaction: a few statements for all workers of a batch of tasks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import bindparam, func, insert, select, text

from ec262.adapters.sql import schema
from ec262.adapters.sql.dialects import one_of, upsert
from ec262.adapters.sql.statements import Statements
from ec262.adapters.sql.values import runtime_key, runtime_of
from ec262.domain.runtime import RuntimeClass
from ec262.domain.standing import EVERYBODY, Standing

Row = tuple[Any, ...]

FORGET_LIMIT = 1_000
"""Most standings that one call forgets: others wait for it. What is left comes with the next call."""

_standings = schema.standings
_NAMES = tuple(column.name for column in _standings.columns)
_KEYS = tuple(column.name for column in _standings.primary_key.columns)

_FIND = select(_standings).where(one_of(_standings.c.worker, "workers"), one_of(_standings.c.foreman, "foremen"))
_LOCK = _FIND.order_by(*_standings.primary_key.columns).with_for_update()
_MAKE = text(str(insert(_standings).compile()) + " ON CONFLICT DO NOTHING")
_SAVE = upsert(_standings)
_CAUGHT = select(_standings).where(
    _standings.c.caught_at >= bindparam("since"), one_of(_standings.c.foreman, "foremen")
)
_ALARMS = (
    select(_standings.c.foreman, func.max(_standings.c.alarmed_at))
    .where(_standings.c.alarmed_at >= bindparam("since"), one_of(_standings.c.foreman, "foremen"))
    .group_by(_standings.c.foreman)
)

_OLD = (
    select(*_standings.primary_key.columns)
    .where(_standings.c.as_of <= bindparam("before"))
    .limit(FORGET_LIMIT)
    .with_for_update(skip_locked=True)
)
_FORGET = text("DELETE FROM standings WHERE worker = :worker AND runtime = :runtime AND foreman = :foreman")


class SqlStandings:
    """Standings; what one foreman knows of a worker is locked with the general standing, which is made for that."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def find(self, workers: Collection[str], foremen: Collection[str]) -> Sequence[Standing]:
        """Return the general standings of these workers and the foremen's own."""
        names = {"workers": sorted(set(workers)), "foremen": [EVERYBODY, *foremen]}
        return list(map(_standing, self._statements.fetch(_FIND, names)))

    def locked(self, known: Collection[tuple[str, RuntimeClass]], foremen: Collection[str]) -> Sequence[Standing]:
        """Return the same of workers in a runtime each, and lock it. General standings that are not there are made
        first, in order, and then all are locked in the same order: so nobody waits in a circle."""
        if not known:
            return []
        blank = {(worker, runtime_key(runtime)): Standing(worker=worker, runtime=runtime) for worker, runtime in known}
        self._statements.change_each(_MAKE, _NAMES, [_row(blank[key]) for key in sorted(blank)])
        names = {"workers": sorted({worker for worker, _ in blank}), "foremen": [EVERYBODY, *foremen]}
        rows = self._statements.fetch(_LOCK, names)
        return [_standing(row) for row in rows if (row[0], row[1]) in blank]

    def save(self, standings: Collection[Standing]) -> None:
        """Store standings as they are now."""
        self._statements.change_each(_SAVE, _NAMES, _in_order(map(_row, standings)))

    def caught_since(self, at: float, foremen: Collection[str]) -> Sequence[Standing]:
        """Return the general standings and the foremen's own of those who were caught lying at that time or later."""
        names = {"since": at, "foremen": [EVERYBODY, *sorted(set(foremen))]}
        return list(map(_standing, self._statements.fetch(_CAUGHT, names)))

    def alarms(self, foremen: Collection[str], since: float) -> Mapping[str, float]:
        """Return the time of the last alarm of each of these foremen that had one at that time or later."""
        found = self._statements.fetch(_ALARMS, {"since": since, "foremen": sorted(set(foremen))})
        return {foreman: float(at) for foreman, at in found}

    def forget(self, before: float) -> None:
        """Drop standings that are so old."""
        old = self._statements.fetch(_OLD, {"before": before})
        self._statements.change_each(_FORGET, _KEYS, old)


def _in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=itemgetter(*map(_NAMES.index, _KEYS)))


def _standing(row: Sequence[Any]) -> Standing:
    values = dict(zip(_NAMES, row, strict=True))
    read = {
        "runtime": runtime_of(values["runtime"]),
        "partners": tuple(values["partners"].split()),
        "accusers": tuple([_accuser(text) for text in values["accusers"].split()]),
    }
    return Standing(**values | read)


def _accuser(text: str) -> tuple[str, float]:
    tag, at = text.split("@")
    return tag, float(at)


def _row(standing: Standing) -> Row:
    written = {
        "runtime": runtime_key(standing.runtime),
        "partners": " ".join(standing.partners),
        "accusers": " ".join([f"{tag}@{at!r}" for tag, at in standing.accusers]),
    }
    return tuple(written[name] if name in written else getattr(standing, name) for name in _NAMES)
