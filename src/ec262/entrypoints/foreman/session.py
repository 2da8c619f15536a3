"""Shared by the ``run_job`` calls of a process: settings, progress and embedded systems."""

from __future__ import annotations

import atexit
import inspect
import itertools
import os
import subprocess
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from ec262.adapters.terminal.progress_bar import choose_progress
from ec262.domain.errors import JobDefinitionError
from ec262.domain.foreman.job.determinism import PhaseCheck
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.foreman.job.plan import Plan
from ec262.domain.ports.progress import Progress
from ec262.entrypoints.embedded.embedded import EmbeddedSystems
from ec262.entrypoints.foreman.job_reading import Functions, JobTerms, build_job, read_terms
from ec262.entrypoints.foreman.job_system import System, provided_system
from ec262.entrypoints.shared.event_loop import run_to_end
from ec262.entrypoints.shared.settings import ForemanSettings
from ec262.services.foreman.foreman import Foreman

T = TypeVar("T")

Write = Callable[[Iterable[bytes]], None]
"""Takes the lines of a result."""

Run = Callable[[Foreman, Job], Awaitable[T]]
"""Runs a job with a foreman."""

_active: list[Session] = []
_making = threading.Lock()


class PlanOnly(BaseException):
    """Ends a dry run: carries the plan through the job's own code, which must not continue without a result."""

    def __init__(self, plan: Plan | None, *, local: bool) -> None:
        """``plan`` is None for a job without rows; ``local`` means that the embedded system would run it."""
        super().__init__(str(plan))
        self.plan = plan
        self.local = local


class CheckOnly(BaseException):
    """Likewise ends a determinism check: carries the findings about a sample of the job's ``rows``."""

    def __init__(self, checks: tuple[PhaseCheck, ...], rows: int) -> None:
        super().__init__(str(checks))
        self.checks = checks
        self.rows = rows


class Session:
    """Runs jobs, from any number of threads. Close it, or use it as a context manager: embedded systems end with it.

    ``dry_run``: only plan the first job, and raise PlanOnly. ``check_rows``: compute only this number of its rows,
    twice each, and raise CheckOnly. ``supervisor`` was launched early and waits for its order.
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
        """Run a job (see ``ec262.run_job``). ``given`` are settings from the caller's code; flags override them.

        Warns about an empty result if a function's author may have forgotten to yield."""

        async def run(foreman: Foreman, job: Job) -> tuple[dict[Any, Any], str]:
            result = await foreman.run(job)
            return result, "" if result else forgotten_yield(functions, mapped=foreman.mapped)

        # Of the jobs in a loop, only long ones are shown.
        progress = choose_progress(quiet=quiet or self._quiet, clock=time.monotonic, late=next(self._jobs) > 0)
        result, warning = self._run(data, functions, given, run, progress) or ({}, "")
        if warning:
            warnings.warn(f"the result is empty: {warning}", stacklevel=3)
        return result

    def write_job(self, data: Any, functions: Functions, write: Write) -> str:
        """Run a job and write its result as lines of canonical JSON, without ever holding all of it. Return the reason
        why the result is empty, in case it is."""

        async def run(foreman: Foreman, job: Job) -> str:
            await foreman.run_to(job, write)
            nothing = f"the {'reducer' if foreman.mapped else 'mapper'} yielded nothing"
            return forgotten_yield(functions, mapped=foreman.mapped) or nothing

        progress = choose_progress(quiet=self._quiet, clock=time.monotonic)
        why = self._run(data, functions, {}, run, progress)
        if why is None:
            write(())
        return why or "there were no rows"

    def _run(
        self, data: Any, functions: Functions, given: Mapping[str, Any], run: Run[T], progress: Progress
    ) -> T | None:
        if self.script_calls_refused:
            raise JobDefinitionError(self.script_calls_refused)
        terms = read_terms(given, self._flags, self._environ)
        run = self._reported(run, terms)
        job = build_job(data, functions, terms.settings)
        try:
            if self._check_rows:
                raise CheckOnly(self._check(job, terms.settings), job.rows.count)
            if not job.rows.sizes and self._dry_run:
                raise PlanOnly(None, local=terms.settings.discovery is None)
            if not job.rows.sizes:
                return None
            with provided_system(job, terms, self._systems) as system:
                return run_to_end(self._run_on(system, run, progress))
        finally:
            job.rows.close()

    async def _run_on(self, system: System, run: Run[T], progress: Progress) -> T:
        async with system.foreman(progress) as foreman:
            if self._dry_run:
                raise PlanOnly(await foreman.plan(system.job), local=system.local)
            return await run(foreman, system.job)

    def _check(self, job: Job, settings: ForemanSettings) -> tuple[PhaseCheck, ...]:
        from ec262.entrypoints.foreman.check_determinism import check_job

        if not job.rows.sizes:
            return ()
        packages = sorted({*settings.allow, *job.modules})
        return run_to_end(check_job(job, sample=self._check_rows, packages=packages, limits=settings.task_limits))

    def _reported(self, run: Run[T], terms: JobTerms) -> Run[T]:
        """Write the receipt of the next job if one is requested; check first that it can be written. Raises
        ConfigurationError."""
        if terms.settings.report is None:
            return run
        from ec262.entrypoints.foreman.reported_run import Report

        rule = terms.settings.verify if terms.verify is None else type(terms.verify).__name__
        report = Report(terms.settings.report, number=next(self._reports), verify=rule)
        return lambda foreman, job: report.run(foreman, job, run)


def current_session() -> Session:
    """Return the session of the command that runs the job file, or the process's own session, which is created when it
    is first needed and closed when the process ends."""
    with _making:
        if not _active:
            session = Session({}, os.environ)
            _active.append(session)
            atexit.register(session.close)
        return _active[-1]


def forgotten_yield(functions: Functions, *, mapped: bool) -> str:
    """Return a sentence about the function that yielded no pairs, if it is not a generator: its author may have
    forgotten to yield. ``mapped`` tells whether there was anything to reduce."""
    for role in ("reducer",) if mapped else ("mapper", "combiner"):
        function = functions.get(role)
        if function is not None and not inspect.isgeneratorfunction(function):
            name = getattr(function, "__qualname__", repr(function))
            return f"the {role} {name} returned no pairs for any {'key' if mapped else 'row'}: is a yield missing?"
    return ""
