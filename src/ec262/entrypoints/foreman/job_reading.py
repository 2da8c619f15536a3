"""Reads a job: its settings, its functions and its data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from ec262.adapters.files.file_rows import InputFiles, file_rows
from ec262.adapters.files.file_spill import FileSpill
from ec262.adapters.files.inputs import read_rows
from ec262.adapters.jobs.local_runtime import local_python
from ec262.adapters.jobs.pickling import pickle_functions
from ec262.domain.errors import JobDefinitionError
from ec262.domain.foreman.data.memory_budget import MemoryBudget
from ec262.domain.foreman.data.partition import encode_row
from ec262.domain.foreman.data.row_spool import RowSpool
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.foreman.job.verification_plan import VerificationPlan, as_plan, workers_needed
from ec262.domain.ports.rows import Rows
from ec262.domain.protocol.requirement import Requirement
from ec262.entrypoints.foreman.bootstrap_foreman import check_room
from ec262.entrypoints.shared.settings import ForemanSettings, load_settings

Functions = Mapping[str, Callable[..., Any] | None]
"""A job's functions, by role."""


@attrs.frozen(kw_only=True)
class JobTerms:
    """How to run a job. ``verify`` is a custom rule, which overrides that of the settings."""

    settings: ForemanSettings
    verify: VerificationPlan | None = None

    @property
    def workers_needed(self) -> int:
        """How many workers its rule needs if no worker has a reputation."""
        return workers_needed(self.verify or as_plan(self.settings.verify))


def read_terms(given: Mapping[str, Any], flags: Mapping[str, Any], environ: Mapping[str, str]) -> JobTerms:
    """Read the settings of a job: flags override the settings ``given`` in the caller's code. Raises
    JobDefinitionError, ConfigurationError; warns if there is little room for the job's data."""
    unknown = sorted(given.keys() - {field.name for field in attrs.fields(ForemanSettings)})
    if unknown:
        raise JobDefinitionError(f"run_job has no setting named {', '.join(unknown)}")
    verify, given = _own_rule({**given, **flags})
    settings = load_settings(ForemanSettings, given, environ, place="on the command line or in the call of run_job")
    check_room(settings)
    return JobTerms(settings=settings, verify=verify)


def _own_rule(given: Mapping[str, Any]) -> tuple[VerificationPlan | None, Mapping[str, Any]]:
    """Separate a custom rule from the settings, which are text. Raises JobDefinitionError if it is not a rule."""
    if given.get("verify") is None or isinstance(given["verify"], str):
        return None, given
    return as_plan(given["verify"]), {name: value for name, value in given.items() if name != "verify"}


def build_job(data: Any, functions: Functions, settings: ForemanSettings) -> Job:
    """Check and encode the user's functions and data. Raises JobError, SpillFailed."""
    for role, function in functions.items():
        if function is None and role in {"mapper", "reducer"}:
            raise JobDefinitionError(f"the job has no {role}: mark one with @ec262.{role}, or pass {role}=")
        if function is not None and not callable(function):
            raise JobDefinitionError(f"the {role} is not a function but {type(function).__name__}")
    pickled = pickle_functions(functions)
    return Job(
        functions=pickled.data,
        rows=_rows(data, settings.memory_budget),
        requirement=Requirement(python=local_python(), packages=pickled.packages),
        modules=pickled.modules,
        seed=settings.seed,
        round_floats=settings.round_floats,
        partitioned=functions.get("partitioner") is not None,
        map_tasks=settings.map_tasks,
        reduce_tasks=settings.reduce_tasks,
    )


def _rows(data: Any, budget: MemoryBudget) -> Rows:
    """Encode the data as they arrive; large files are only scanned. Raises JobError, SpillFailed."""
    if isinstance(data, InputFiles):
        rows = file_rows(data, more_than=budget.partition_bytes)
        if rows is not None:
            return rows
        data = read_rows(data.paths, data.file_format)
    spool = RowSpool(FileSpill, memory_bytes=budget.rows_bytes)
    try:
        for key, value in pairs_of(data):
            spool.append(encode_row(key, value).data)
    except BaseException:
        spool.close()
        raise
    return spool


def pairs_of(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the rows of the user's data. Raises JobDefinitionError, and any exception of the data's own code."""
    if callable(data):
        data = data()
    rows = data.items() if isinstance(data, Mapping) else data
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes):
        raise JobDefinitionError(
            f"the data is {type(data).__name__}: expected a mapping, an iterable of (key, value) pairs, "
            "or a function that returns one"
        )
    for number, row in enumerate(rows, 1):
        if not isinstance(row, tuple | list) or len(row) != 2:  # noqa: PLR2004 - a pair
            raise JobDefinitionError(f"row {number} of the data is not a (key, value) pair: {row!r:.200}")
        yield row[0], row[1]
