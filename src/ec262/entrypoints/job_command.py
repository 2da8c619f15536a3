"""What the ``foreman`` command does with its arguments."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from ec262.adapters.file_rows import InputFiles
from ec262.adapters.process import give_memory_back
from ec262.domain.errors import (
    ConfigurationError,
    Ec262Error,
    FunctionNotPicklable,
    InsufficientCredits,
    JobDefinitionError,
    TaskLimitExceeded,
    UserCodeFailed,
)
from ec262.domain.plan import Plan
from ec262.entrypoints.job_file import loaded_files, run_job_file, with_source_lines
from ec262.entrypoints.session import CheckOnly, PlanOnly, Session

ADVICE = {
    "cpu": "Does the function end? If it needs longer: --task-timeout S, or smaller rows.",
    "wall": "Does the function end? If it needs longer: --task-timeout S, or smaller rows.",
    "memory": "Smaller rows or a combiner take less; --task-memory MIB asks for more, as far as the workers allow it.",
    "output": "Smaller rows, fewer or smaller pairs, or a combiner (@ec262.combiner) yield less.",
}
"""What to do about a limit that a task exceeded."""

MAX_LINES_SHOWN = 40
"""Lines of a result that are printed to a terminal; files and pipes get all."""


def run_command(arguments: argparse.Namespace, supervisor: subprocess.Popen[bytes] | None) -> int:
    """Run the job that the command line asks for; tell what went wrong on standard error; return the exit status."""
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
        print(_describe(plan_only.plan))
    except CheckOnly as check_only:
        return _tell_check(check_only)
    except UserCodeFailed as error:
        if error.report:
            print(with_source_lines(error.report, loaded_files()), file=sys.stderr)
        print(f"ec262: {error}", file=sys.stderr)
        return 1
    except (ConfigurationError, JobDefinitionError, FunctionNotPicklable) as error:
        print(f"ec262: {error}", file=sys.stderr)
        return 2
    except Ec262Error as error:
        print(f"ec262: {error}{_advice(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _run(arguments: argparse.Namespace, session: Session) -> None:
    with _output(arguments) as output:
        if arguments.input or arguments.output:
            session.script_calls_refused = (
                f"{arguments.job} calls run_job itself, so --input and --output have no say: "
                "read and write files in the script, or leave run_job to the command"
            )
        job = run_job_file(arguments.job)
        if job.ran_itself:
            return
        session.script_calls_refused = ""
        session.write_job(_data_of(arguments, job.data), job.functions, output.write)
        if not output.lines and not arguments.quiet:
            print("ec262: the result is empty: there were no rows, or the functions yielded nothing", file=sys.stderr)


def _data_of(arguments: argparse.Namespace, data: Any) -> Any:
    if arguments.input:
        return InputFiles(tuple(arguments.input), arguments.format)
    if data is None:
        raise JobDefinitionError(
            f"{arguments.job} has no data: define `data` (a mapping, pairs, or a function), or give --input FILE"
        )
    return data


@attrs.define
class _Output:
    """Where a result goes, and how many lines it had."""

    put: Callable[[Iterable[bytes]], None]
    lines: int = 0

    def write(self, lines: Iterable[bytes]) -> None:
        """Write the lines of a result."""
        self.put(self._counted(lines))

    def _counted(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.lines += 1
            yield line


@contextmanager
def _output(arguments: argparse.Namespace) -> Iterator[_Output]:
    """Yield what writes the result. A file is opened before any work is done, and appears under its name when it is
    whole."""
    if not arguments.output or arguments.dry_run or arguments.check_determinism:
        yield _Output(_print_lines)
        return
    path = Path(arguments.output)
    # What is there and no plain file (a pipe, a device) is written as it is: it must not be replaced by a file.
    try:
        special = path.exists() and not path.is_file()
        target = path if special else path.resolve()
        written = target if special else target.with_name(f".{target.name}.{os.getpid()}.partial")
        file = written.open("wb" if special else "xb")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        with file:
            yield _Output(lambda lines: _write_lines(lines, file, path))
        if not special:
            written.replace(target)
    finally:
        if not special:
            written.unlink(missing_ok=True)


def _write_lines(lines: Iterable[bytes], file: BinaryIO, path: Path) -> None:
    try:
        file.writelines(lines)
        file.flush()
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror or error}") from error


def _print_lines(lines: Iterable[bytes]) -> None:
    """Print a result; on a terminal only as much of it as a person wants to see."""
    terminal = sys.stdout.isatty()
    rest = iter(lines)
    sys.stdout.writelines(line.decode() for line in (islice(rest, MAX_LINES_SHOWN) if terminal else rest))
    sys.stdout.flush()
    more = sum(1 for _ in rest)
    if more:
        print(f"... and {more:,} more: --output FILE writes all", file=sys.stderr)


def _advice(error: Ec262Error) -> str:
    if isinstance(error, InsufficientCredits):
        return "\nWorkers earn credits: --role worker-PORT spends yours. The operator, or an --invitation, gives more."
    if isinstance(error, TaskLimitExceeded):
        return "\n" + ADVICE.get(error.limit, "")
    return ""


def _describe(plan: Plan) -> str:
    sized = plan.most_map_tasks > plan.map_tasks
    tasks = f"{plan.map_tasks} map tasks and {plan.reduce_tasks} reduce tasks, {plan.replicas} replicas each"
    price = f"{'about ' if sized else ''}{plan.price} credits of {plan.purse}"
    if plan.adds_workers:
        text = f"{tasks} at first: {price}, more where workers differ, fail or are checked; {plan.spare} to spare"
    else:
        text = f"{tasks}: {price}, {plan.spare} to spare"
    if not sized:
        return text
    return (
        f"{text}\nmap tasks are sized by the time that rows take: there are more, for up to {plan.most_price} credits, "
        "if that is long, and fewer if it is short; --map-tasks N sets their number"
    )


def _tell_check(only: CheckOnly) -> int:
    from ec262.entrypoints.determinism import describe

    print(describe(only.checks, only.rows) if only.checks else "the job has no rows: there is nothing to check")
    return 1 if any(check.finding is not None for check in only.checks) else 0
