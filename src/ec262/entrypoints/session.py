"""What the ``run_job`` calls of one process share: settings, progress, and the embedded system while there is one."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import itertools
import os
import subprocess
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import attrs

from ec262.adapters.file_rows import InputFiles, file_rows
from ec262.adapters.file_spill import FileSpill
from ec262.adapters.inputs import read_rows
from ec262.adapters.pickling import pickle_functions
from ec262.adapters.progress import choose_progress
from ec262.adapters.runtime import local_python
from ec262.domain.commands import Requirement
from ec262.domain.determinism import PhaseCheck
from ec262.domain.errors import JobDefinitionError
from ec262.domain.job_definition import Job
from ec262.domain.memory import MemoryBudget
from ec262.domain.partition import encode_row
from ec262.domain.plan import Plan
from ec262.domain.ports.progress import Progress
from ec262.domain.ports.rows import Rows
from ec262.domain.row_spool import RowSpool
from ec262.domain.verification_plan import VerificationPlan, as_plan, workers_needed
from ec262.entrypoints.bootstrap import build_foreman, build_foreman_discovery, check_room
from ec262.entrypoints.embedded import EmbeddedSystem, EmbeddedSystems
from ec262.entrypoints.event_loop import run_to_end
from ec262.entrypoints.settings import ForemanSettings, WorkerSettings, load_settings
from ec262.services.foreman import Foreman

T = TypeVar("T")

EMBEDDED_AHEAD = 7
"""Tasks that may wait for each slot of the embedded system. Its workers share one machine: none of them waits while
another has too much to do, so tasks may as well be sent early."""
Write = Callable[[Iterable[bytes]], None]
"""Takes the lines of a result."""

Run = Callable[[Foreman, Job], Awaitable[T]]
"""What is to be done with a job and a foreman for it."""

Functions = Mapping[str, Callable[..., Any] | None]
"""A job's functions, by role."""


@attrs.frozen(kw_only=True)
class Order(Generic[T]):
    """How a job is to be run: ``verify`` is a rule of the user's own, which goes before that of the settings."""

    settings: ForemanSettings
    verify: VerificationPlan | None
    run: Run[T]
    progress: Progress


_active: list[Session] = []
_making = threading.Lock()


class PlanOnly(BaseException):
    """Ends a dry run: carries the plan out through the job's own code, which is not to go on without a result."""

    def __init__(self, plan: Plan | None, *, local: bool) -> None:
        """``plan`` is None for a job without rows; ``local`` means that the embedded system would run it."""
        super().__init__(str(plan))
        self.plan = plan
        self.local = local


class CheckOnly(BaseException):
    """Ends a check of a job's determinism, likewise: carries out what came of trying some of its ``rows``."""

    def __init__(self, checks: tuple[PhaseCheck, ...], rows: int) -> None:
        super().__init__(str(checks))
        self.checks = checks
        self.rows = rows


class Session:
    """Runs jobs, from any number of threads. Close it, or use it as a context manager: embedded systems end with it.

    ``dry_run``: only plan the first job, and raise PlanOnly. ``check_rows``: only compute so many of its rows, twice,
    and raise CheckOnly. ``supervisor`` is one that was launched early and waits for its order.
    """

    def __init__(
        self,
        flags: Mapping[str, Any],
        environ: Mapping[str, str],
        *,
        quiet: bool = False,
        dry_run: bool = False,
        check_rows: int = 0,
        supervisor: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._flags = {name: value for name, value in flags.items() if value is not None}
        self._environ = environ
        self._quiet = quiet
        self._dry_run = dry_run
        self._check_rows = check_rows
        self._jobs = itertools.count()
        self._reports = itertools.count(1)
        self._systems = EmbeddedSystems(supervisor)
        self.script_calls_refused = ""
        """Why a job file may not call ``run_job`` itself; empty if it may."""

    def __enter__(self) -> Self:
        _active.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _active.remove(self)
        self.close()

    def close(self) -> None:
        """End the embedded systems, if there are any. May be called twice."""
        self._systems.close()

    def run_job(
        self, data: Any, functions: Functions, given: Mapping[str, Any], *, quiet: bool = False
    ) -> dict[Any, Any]:
        """Run a job (see ``ec262.run_job``). ``given`` are settings from the caller's code; flags go before them.

        Warns of an empty result if a function looks as if its author has forgotten to yield."""

        async def run(foreman: Foreman, job: Job) -> tuple[dict[Any, Any], str]:
            result = await foreman.run(job)
            return result, "" if result else forgotten_yield(functions, mapped=foreman.mapped)

        # Of the jobs of a loop only those are shown that take long.
        progress = choose_progress(quiet=quiet or self._quiet, clock=time.monotonic, late=next(self._jobs) > 0)
        result, warning = self._prepared(data, functions, given, run, progress) or ({}, "")
        if warning:
            warnings.warn(f"the result is empty: {warning}", stacklevel=3)
        return result

    def write_job(self, data: Any, functions: Functions, write: Write) -> str:
        """Run a job, and have its result written as lines of canonical JSON, without ever holding it whole. Return why
        the result is empty, in case it is."""

        async def run(foreman: Foreman, job: Job) -> str:
            await foreman.run_to(job, write)
            nothing = f"the {'reducer' if foreman.mapped else 'mapper'} yielded nothing"
            return forgotten_yield(functions, mapped=foreman.mapped) or nothing

        progress = choose_progress(quiet=self._quiet, clock=time.monotonic)
        why = self._prepared(data, functions, {}, run, progress)
        if why is None:
            write(())
        return why or "there were no rows"

    def _prepared(
        self, data: Any, functions: Functions, given: Mapping[str, Any], run: Run[T], progress: Progress
    ) -> T | None:
        if self.script_calls_refused:
            raise JobDefinitionError(self.script_calls_refused)
        unknown = sorted(given.keys() - {field.name for field in attrs.fields(ForemanSettings)})
        if unknown:
            raise JobDefinitionError(f"run_job has no setting named {', '.join(unknown)}")
        verify, given = _own_rule({**given, **self._flags})
        settings = load_settings(
            ForemanSettings, given, self._environ, place="on the command line or in the call of run_job"
        )
        check_room(settings)
        run = self._reported(run, settings, verify)
        job = build_job(data, functions, settings)
        try:
            return self._run_prepared(job, Order(settings=settings, verify=verify, run=run, progress=progress))
        finally:
            job.rows.close()

    def _run_prepared(self, job: Job, order: Order[T]) -> T | None:
        settings = order.settings
        if self._check_rows:
            raise CheckOnly(self._check(job, settings), job.rows.count)
        if not job.rows.sizes:
            if self._dry_run:
                raise PlanOnly(None, local=settings.discovery is None)
            return None
        if settings.discovery is not None:
            return run_to_end(self._execute(job, order))
        # What the user has, the user's own workers may import. The job can do without the rest, or will say so.
        packages = tuple(name for name in job.requirement.packages if name in job.modules)
        job = attrs.evolve(job, requirement=attrs.evolve(job.requirement, packages=packages))
        count = max(settings.workers, workers_needed(order.verify or as_plan(settings.verify)))
        with self._systems.lend(embedded_workers(settings, job.modules), count) as embedded:
            return run_to_end(self._run_embedded(job, order, embedded))

    def _check(self, job: Job, settings: ForemanSettings) -> tuple[PhaseCheck, ...]:
        from ec262.entrypoints.determinism import check_job

        if not job.rows.sizes:
            return ()
        packages = sorted({*settings.allow, *job.modules})
        return run_to_end(check_job(job, sample=self._check_rows, packages=packages, limits=settings.task_limits))

    async def _run_embedded(self, job: Job, order: Order[T], embedded: EmbeddedSystem) -> T:
        url, token = await asyncio.to_thread(embedded.address)
        # What another discovery service would want to know is none of this one's business.
        settings = attrs.evolve(order.settings, discovery=url, discovery_ca=None, invitation=None)
        async with embedded.watched():
            return await self._execute(job, attrs.evolve(order, settings=settings), token=token)

    async def _execute(self, job: Job, order: Order[T], *, token: str | None = None) -> T:
        """Run a job; ``token`` is that of the embedded system, of which one worker's word is as good as another's."""
        discovery = build_foreman_discovery(order.settings, token=token)
        try:
            foreman = build_foreman(
                order.settings,
                discovery=discovery,
                progress=order.progress,
                verify=order.verify,
                local=token is not None,
            )
            if self._dry_run:
                raise PlanOnly(await foreman.plan(job), local=token is not None)
            return await order.run(foreman, job)
        finally:
            await discovery.close()

    def _reported(self, run: Run[T], settings: ForemanSettings, verify: VerificationPlan | None) -> Run[T]:
        """Have the receipt of the next job written, if that is asked for; whether it can be is checked before there is
        anything to wait for. Raises ConfigurationError."""
        if settings.report is None:
            return run
        from ec262.entrypoints.report import Report

        rule = settings.verify if verify is None else type(verify).__name__
        report = Report(settings.report, number=next(self._reports), verify=rule)
        return lambda foreman, job: report.run(foreman, job, run)


def current_session() -> Session:
    """Return the session of the command that runs the job's file, or one of the process's own, made when first needed
    and closed when the process ends."""
    with _making:
        if not _active:
            session = Session({}, os.environ)
            _active.append(session)
            atexit.register(session.close)
        return _active[-1]


def _own_rule(given: Mapping[str, Any]) -> tuple[VerificationPlan | None, Mapping[str, Any]]:
    """Part a rule of the user's own from the settings, which are text. Raises JobDefinitionError if it is none."""
    if given.get("verify") is None or isinstance(given["verify"], str):
        return None, given
    return as_plan(given["verify"]), {name: value for name, value in given.items() if name != "verify"}


def embedded_workers(settings: ForemanSettings, modules: Iterable[str]) -> WorkerSettings:
    """Return what the embedded system's workers are to be like. They allow a task all that the foreman asks for, at any
    hour: what this machine grants to strangers is not meant for its own user. They load ``modules`` when they start:
    native code cannot be loaded later."""
    least = WorkerSettings()
    return WorkerSettings(
        slots=settings.slots,
        ahead=EMBEDDED_AHEAD,
        allow=tuple(sorted({*settings.allow, *modules})),
        sandbox=settings.sandbox,
        nice=settings.nice,
        cpu_limit=max(least.cpu_limit, settings.task_timeout),
        wall_limit=max(least.wall_limit, settings.task_timeout),
        memory_limit_mib=max(least.memory_limit_mib, settings.task_memory),
    )


def forgotten_yield(functions: Functions, *, mapped: bool) -> str:
    """Return a sentence about the function that gave no pairs at all, if it is no generator: its author may have
    forgotten to yield them. ``mapped`` tells whether there was anything to reduce."""
    for role in ("reducer",) if mapped else ("mapper", "combiner"):
        function = functions.get(role)
        if function is not None and not inspect.isgeneratorfunction(function):
            name = getattr(function, "__qualname__", repr(function))
            return f"the {role} {name} returned no pairs for any {'key' if mapped else 'row'}: is a yield missing?"
    return ""


def build_job(data: Any, functions: Functions, settings: ForemanSettings) -> Job:
    """Check and encode what the user gave. Raises JobError, SpillFailed."""
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
    """Encode the data as they come; large files are only looked at. Raises JobError, SpillFailed."""
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
    """Yield the rows of what the user gave as data. Raises JobDefinitionError, and whatever the data's code raises."""
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
