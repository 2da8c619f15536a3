"""``python -m ec262.entrypoints.foreman JOB.py``: run a job.

Exit status: 0 done, 1 the job failed, 2 wrong usage or configuration, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from ec262 import __version__
from ec262.adapters.inputs import FORMATS, read_rows, result_lines
from ec262.domain.errors import ConfigurationError, Ec262Error, JobDefinitionError, UserCodeFailed
from ec262.domain.plan import Plan
from ec262.entrypoints.job_file import run_job_file, with_source_lines
from ec262.entrypoints.logs import add_verbosity, configure_logging
from ec262.entrypoints.session import PlanOnly, Session


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = _parser().parse_args(argv)
    configure_logging(arguments)
    try:
        with _terminated_as_interrupted() as terminated:
            return _report_errors(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 143 if terminated else 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ec262 foreman",
        description="Run a MapReduce job. With no discovery service configured, one is started on this machine, "
        "with workers, for this job.",
    )
    add = parser.add_argument
    add("job", metavar="JOB.py", help="the job: marks its mapper and reducer, and has data, or calls ec262.run_job")
    add("--input", nargs="+", metavar="FILE", help="rows from files, for a job that has no data of its own")
    add("--format", choices=FORMATS, default="lines", help="how files become rows (default: %(default)s)")
    add("--output", metavar="FILE", help="write the result as JSON lines of [key, value]; else it is printed")
    add("--discovery", metavar="URL", help="the discovery service (default: an embedded system on this machine)")
    add("--credentials", metavar="DIR", help="folder of account tokens")
    add("--verify", metavar="RULE", help="verification rule (default: majority:3)")
    add("--seed", type=int, help="seed of the job's randomness (default: 0)")
    add("--task-timeout", type=float, metavar="S", help="seconds that a task may take (default: 600)")
    add("--attempts", type=int, metavar="N", help="how often a task is bought before the job fails (default: 3)")
    add("--patience", type=float, metavar="S", help="seconds to wait for workers or discovery (default: 60)")
    add("--workers", type=int, metavar="N", help="workers of the embedded system (default: 4)")
    add("--config", metavar="FILE", help="settings file (TOML)")
    add("--dry-run", action="store_true", help="tell the plan and its price; buy nothing")
    add("--quiet", action="store_true", help="no progress")
    add_verbosity(parser)
    add("--version", action="version", version=f"ec262 {__version__}")
    return parser


def _report_errors(arguments: argparse.Namespace) -> int:
    try:
        _run(arguments)
    except PlanOnly as plan_only:
        print(_describe(plan_only.plan))
    except UserCodeFailed as error:
        if error.report:
            print(with_source_lines(error.report), file=sys.stderr)
        print(f"ec262: {error}", file=sys.stderr)
        return 1
    except (ConfigurationError, JobDefinitionError) as error:
        print(f"ec262: {error}", file=sys.stderr)
        return 2
    except Ec262Error as error:
        print(f"ec262: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> None:
    if arguments.input and not Path(arguments.job).is_file():
        raise JobDefinitionError(f"cannot read the job file {arguments.job}: no such file")
    session = Session(vars(arguments), os.environ, quiet=arguments.quiet, dry_run=arguments.dry_run)
    with session, _output(arguments) as output:
        if Path(arguments.job).is_file():
            session.warm_up()
        job = run_job_file(arguments.job)
        if job.ran_itself:
            if arguments.input or arguments.output:
                raise JobDefinitionError("this job calls run_job itself: --input and --output are its own business")
            return
        result = session.run_job(_data_of(arguments, job.data), job.functions, {})
        output.writelines(result_lines(result.items()))
        output.flush()


def _data_of(arguments: argparse.Namespace, data: Any) -> Any:
    if arguments.input:
        return lambda: read_rows(arguments.input, arguments.format)
    if data is None:
        raise JobDefinitionError(
            f"{arguments.job} has no data: define `data` (a mapping, pairs, or a function), or give --input FILE"
        )
    return data


@contextmanager
def _output(arguments: argparse.Namespace) -> Iterator[TextIO]:
    """Open the output before any work is done; a file appears under its name only when it is whole."""
    if not arguments.output or arguments.dry_run:
        yield sys.stdout
        return
    path = Path(arguments.output)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        file = partial.open("x", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        with file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _terminated_as_interrupted() -> Iterator[list[int]]:
    """Turn SIGTERM into what Ctrl-C does, so that both clean up alike; the yielded list tells whether it came."""
    came: list[int] = []

    def on_terminate(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, on_terminate)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _describe(plan: Plan) -> str:
    return (
        f"{plan.map_tasks} map tasks and {plan.reduce_tasks} reduce tasks, {plan.replicas} replicas each: "
        f"{plan.price} credits of {plan.purse}, {plan.spare} to spare"
    )


if __name__ == "__main__":
    sys.exit(main())
