"""Runs the ``foreman`` command."""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any

from ec262.adapters.files.file_rows import InputFiles
from ec262.adapters.machine.processes import give_memory_back
from ec262.domain.errors import (
    ConfigurationError,
    Ec262Error,
    FunctionNotPicklable,
    InsufficientCredits,
    JobDefinitionError,
    OutputFailed,
    TaskLimitExceeded,
    UserCodeFailed,
)
from ec262.domain.foreman.job.plan import Plan
from ec262.entrypoints.foreman.job_file import failure, run_job_file
from ec262.entrypoints.foreman.job_output import opened_output
from ec262.entrypoints.foreman.job_reading import pairs_of
from ec262.entrypoints.foreman.job_sources import loaded_files, with_source_lines
from ec262.entrypoints.foreman.session import CheckOnly, PlanOnly, Session
from ec262.entrypoints.shared.command import complain, tell

ADVICE = {
    "cpu": "Check that the function ends. If it needs more time, use --task-timeout S or smaller rows.",
    "wall": "Check that the function ends. If it needs more time, use --task-timeout S or smaller rows.",
    "memory": "Use smaller rows or a combiner, or ask for more with --task-memory MIB, if the workers allow it.",
    "output": (
        "If its tasks have several rows, use more tasks (--map-tasks N, --reduce-tasks N). Otherwise yield less for "
        "each row: fewer or smaller pairs, or use a combiner (@ec262.combiner)."
    ),
}
"""What to do about a limit that a task exceeded."""


def run_command(arguments: argparse.Namespace, supervisor: subprocess.Popen[bytes] | None) -> int:
    """Run the job that the command line names; report errors on standard error; return the exit status."""
    give_memory_back()
    try:
        session = Session(
            vars(arguments),
            os.environ,
            quiet=arguments.quiet,
            dry_run=arguments.dry_run,
            check_rows=arguments.sample if arguments.check_determinism else 0,
            supervisor=supervisor,
        )
        with session:
            _run(arguments, session)
    except PlanOnly as plan_only:
        tell(_describe(plan_only.plan, local=plan_only.local))
    except CheckOnly as check_only:
        return _tell_check(check_only)
    except UserCodeFailed as error:
        if error.report:
            complain(with_source_lines(error.report, loaded_files()))
        complain(f"ec262: {error}")
        return 1
    except OutputFailed:  # reported by the caller
        raise
    except (ConfigurationError, JobDefinitionError, FunctionNotPicklable) as error:
        complain(f"ec262: {error}")
        return 2
    except Ec262Error as error:
        complain(f"ec262: {error}{_advice(error)}")
        return 1
    return 0


def _run(arguments: argparse.Namespace, session: Session) -> None:
    with opened_output(arguments) as output:
        if arguments.input or arguments.output:
            session.script_calls_refused = (
                f"{arguments.job} calls run_job itself, so --input and --output have no effect: "
                "read and write files in the script, or remove the call and let the command run the job"
            )
        job = run_job_file(arguments.job, arguments.job_arguments)
        if job.ran_itself:
            return
        session.script_calls_refused = ""
        why_empty = session.write_job(_data_of(arguments, job.data), job.functions, output.write)
        if not output.lines and not arguments.quiet:
            complain(f"ec262: the result is empty: {why_empty}")


def _data_of(arguments: argparse.Namespace, data: Any) -> Any:
    if arguments.input:
        return InputFiles(tuple(arguments.input), arguments.format)
    if data is None:
        raise JobDefinitionError(
            f"{arguments.job} has no data: define `data` (a mapping, pairs, or a function), or give --input FILE"
        )
    return partial(_rows, data)


def _rows(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the job's rows. Raises UserCodeFailed if the data's own code raises an exception."""
    try:
        yield from pairs_of(data)
    except (Ec262Error, BrokenPipeError):  # the latter: the reader of our output has closed the pipe
        raise
    except Exception as error:
        raise failure("data", error) from error


def _advice(error: Ec262Error) -> str:
    if isinstance(error, InsufficientCredits):
        return "\nWorkers earn credits: --role worker-PORT spends yours. The operator can grant more (--invitation)."
    if isinstance(error, TaskLimitExceeded):
        return "\n" + ADVICE.get(error.limit, "")
    return ""


def _describe(plan: Plan | None, *, local: bool) -> str:
    """Describe how many tasks a job would have, and what it would cost if that matters."""
    if plan is None:
        return "the job has no rows: there is nothing to run"
    sized = plan.most_map_tasks > plan.map_tasks
    text = f"{plan.map_tasks} map tasks and {plan.reduce_tasks} reduce tasks, {plan.replicas} replicas each"
    text += " at first" * plan.adds_workers
    if not local:
        text += f": {'about ' * sized}{plan.price} credits of {plan.purse}"
        text += ", more if workers disagree, fail or are audited" * plan.adds_workers
        text += f"{';' if plan.adds_workers else ','} {plan.spare} to spare"
    if not sized:
        return text
    return (
        f"{text}\nmap tasks are sized by the time that rows take: slow rows make more of them"
        f"{'' if local else f' (for up to {plan.most_price} credits)'}, fast rows fewer; "
        "--map-tasks N sets their number"
    )


def _tell_check(only: CheckOnly) -> int:
    from ec262.entrypoints.foreman.check_determinism import describe

    tell(describe(only.checks, only.rows) if only.checks else "the job has no rows: there is nothing to check")
    return 1 if any(check.finding is not None for check in only.checks) else 0
