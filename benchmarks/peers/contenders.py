"""The contenders: each column of the table is a class that is started once and then runs workloads."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol
from unittest import mock

import attrs

from benchmarks.peers.floor import Floor
from benchmarks.peers.workloads import Function, Pair, Workload
from ec262.domain.errors import ConfigurationError
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.foreman.job.plan import Plan
from ec262.entrypoints.foreman.session import Session
from ec262.entrypoints.shared.settings import ForemanSettings, load_settings
from ec262.services.foreman.foreman import Foreman

RULES = {"majority:3": ("majority:3",), "quorum:2": ("quorum:2", "majority:2:2"), "none": ("none", "majority:1:1")}
"""ec262's columns and their verification rules: the first rule that this release knows is used."""

PROCESSES = 2

MANY = 100
"""From this many parts on, a part is small and not worth a message of its own."""


class Contender(Protocol):
    """A column of the table."""

    name: str

    def run(self, workload: Workload) -> dict[Any, Any]:
        """Run a job, already warmed up; return its result."""

    def close(self) -> None:
        """Stop what was started."""


# --- MapReduce on top of a parallel map -------------------------------------------------------------------------------


def map_part(mapper: Function, combiner: Function | None, rows: Sequence[Pair]) -> list[Pair]:
    """Map a part of the rows, and combine the pairs if the job has a combiner."""
    pairs = [pair for row in rows for pair in mapper(*row)]
    return pairs if combiner is None else reduce_all(combiner, [pairs])


def reduce_all(reducer: Function, parts: Iterable[Sequence[Pair]]) -> list[Pair]:
    """Group all pairs by key, and reduce."""
    groups: defaultdict[Any, list[Any]] = defaultdict(list)
    for pairs in parts:
        for key, value in pairs:
            groups[key].append(value)
    return [pair for key, values in groups.items() for pair in reducer(key, values)]


def with_map(workload: Workload, parallel_map: Callable[..., Iterable[Sequence[Pair]]]) -> dict[Any, Any]:
    """Run a job with a parallel map. The reducer runs here, as in programs that have only such a map."""
    function = partial(map_part, workload.mapper, workload.combiner)
    return dict(reduce_all(workload.reducer, parallel_map(function, workload.cut())))


# --- the columns ------------------------------------------------------------------------------------------------------


class PlainLoop:
    """The loop that one would write first."""

    name = "plain loop"

    def run(self, workload: Workload) -> dict[Any, Any]:
        """Compute a job."""
        return workload.plain(workload.rows)

    def close(self) -> None:
        """Do nothing: there is nothing to stop."""


class ProcessPool:
    """``multiprocessing.Pool``."""

    name = f"Pool({PROCESSES})"

    def __init__(self) -> None:
        self._pool = multiprocessing.get_context("spawn").Pool(PROCESSES)

    def run(self, workload: Workload) -> dict[Any, Any]:
        """Compute a job."""
        return with_map(workload, partial(self._pool.imap, chunksize=1))

    def close(self) -> None:
        """Stop the processes."""
        self._pool.terminate()
        self._pool.join()


def unpacked(function: Callable[[Any], Any], part: bytes) -> bytes:
    """Apply a function to a pickled argument; return the pickled result."""
    return pickle.dumps(function(pickle.loads(part)), pickle.HIGHEST_PROTOCOL)  # noqa: S301 - our own


class Dask:
    """Futures of Dask's distributed scheduler, with the rows packed into a few parts."""

    name = "Dask"

    def __init__(self) -> None:
        from distributed import Client, LocalCluster

        self._cluster = LocalCluster(n_workers=PROCESSES, threads_per_worker=1, dashboard_address=None, silence_logs=50)
        self._client = Client(self._cluster)

    def run(self, workload: Workload) -> dict[Any, Any]:
        """Compute a job."""
        return with_map(workload, self._map)

    def _map(self, function: Callable[..., Any], parts: Sequence[Any]) -> Iterable[Sequence[Pair]]:
        # As bytes: Dask inspects containers object by object.
        packed = [pickle.dumps(part, pickle.HIGHEST_PROTOCOL) for part in parts]
        sent = packed if len(packed) > MANY else self._client.scatter(packed, hash=False)
        results = self._client.gather(self._client.map(partial(unpacked, function), sent, pure=False))
        return map(pickle.loads, results)

    def close(self) -> None:
        """Stop the cluster."""
        self._client.close()
        self._cluster.close()


class MincemeatFloor:
    """A lower bound of our own: see ``floor``."""

    name = "TCP floor"

    def __init__(self) -> None:
        self._floor = Floor(PROCESSES)

    def run(self, workload: Workload) -> dict[Any, Any]:
        """Compute a job."""
        return with_map(workload, self._floor.map)

    def close(self) -> None:
        """Stop the workers."""
        self._floor.close()


@contextmanager
def one_row_a_task() -> Iterator[None]:
    """Make foremen put each row into a task of its own. No user needs this."""
    plan = Foreman.plan

    async def plan_rows(foreman: Foreman, job: Job) -> Plan:
        return attrs.evolve(await plan(foreman, job), map_tasks=job.rows.count)

    with mock.patch.object(Foreman, "plan", plan_rows):
        yield


class Embedded:
    """A running embedded system, which ec262's columns use in turn."""

    def __init__(self) -> None:
        self._session = Session({}, os.environ, quiet=True)

    def run(self, workload: Workload, rule: str) -> dict[Any, Any]:
        """Run a job, as ``ec262.run_job`` does."""
        with one_row_a_task() if workload.row_a_task else nullcontext():
            return self._session.run_job(workload.rows, workload.functions, {"verify": rule})

    def close(self) -> None:
        """Stop the system."""
        self._session.close()


class Ec262:
    """ec262 under one verification rule."""

    def __init__(self, name: str, system: Embedded) -> None:
        self.name = name
        self.rule = known_rule(RULES[name])
        self._system = system

    def run(self, workload: Workload) -> dict[Any, Any]:
        """Compute a job."""
        return self._system.run(workload, self.rule)

    def close(self) -> None:
        """Do nothing: the system is shared."""


def known_rule(specs: Sequence[str]) -> str:
    """Return the first rule that this release knows."""
    for spec in specs:
        try:
            load_settings(ForemanSettings, {"verify": spec}, {})
        except ConfigurationError:
            continue
        return spec
    raise ConfigurationError(f"none of these rules is known: {', '.join(specs)}")
