"""Job files: Python scripts that either call ``ec262.run_job`` themselves or declare their functions and data."""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from ec262.domain.errors import Ec262Error, JobDefinitionError, UserCodeFailed
from ec262.domain.work.roles import ROLES
from ec262.entrypoints.foreman import api
from ec262.entrypoints.foreman.job_sources import is_ours


@attrs.frozen(kw_only=True)
class JobFile:
    """What running the file has defined: the marked functions by role, its ``data`` (None if there is none), and
    whether it ran a job by itself."""

    functions: dict[str, Callable[..., Any] | None]
    data: Any
    ran_itself: bool


def run_job_file(path: str, arguments: Sequence[str] = ()) -> JobFile:
    """Run a job file as ``__main__``, as ``python JOB.py ARGUMENTS`` would, its folder first on the import path.
    ``sys.argv`` stays as the file sees it: its ``data`` may be a function that is called later.

    Raises JobDefinitionError if it cannot be read or does not compile, or if it is unclear which of the marked
    functions make up its job; UserCodeFailed with the traceback if its own code raises an exception. An Ec262Error
    (from its call of ``run_job``), SystemExit and KeyboardInterrupt pass through.
    """
    file = Path(path).resolve()
    try:
        code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    except OSError as error:
        raise JobDefinitionError(f"cannot read the job file {path}: {error.strerror or error}") from error
    except (SyntaxError, ValueError) as error:
        reason = "".join(traceback.format_exception_only(error)).rstrip()
        raise JobDefinitionError(f"the job file {path} does not compile:\n{reason}") from error
    module = ModuleType("__main__")
    module.__file__ = str(file)
    sys.modules["__main__"] = module
    sys.argv = [path, *arguments]
    sys.path.insert(0, str(file.parent))
    api.marked.clear()
    api.read_by_command = True
    calls_before = api.calls
    linecache.checkcache(str(file))
    try:
        exec(code, module.__dict__)  # noqa: S102 - running the user's own file is what the command is for
    except (Ec262Error, SystemExit, BrokenPipeError):  # the last: the reader of our output has closed the pipe
        raise
    except Exception as error:
        raise failure("job file", error) from error
    ran_itself = api.calls > calls_before
    marked = {} if ran_itself else api.marked.take([module.__dict__])
    functions = {role: marked.get(role) for role in ROLES}
    return JobFile(functions=functions, data=module.__dict__.get("data"), ran_itself=ran_itself)


def failure(what: str, error: Exception) -> UserCodeFailed:
    """Return the error for an exception that the user's own code raised in this process."""
    return UserCodeFailed(
        function=what, exception=type(error).__name__, row=None, frames=(), report=_users_traceback(error)
    )


def _users_traceback(error: Exception) -> str:
    """Return an exception's traceback, and those of its causes, with the user's own frames only."""
    report = traceback.TracebackException.from_exception(error)
    parts = [report]
    for part in parts:
        part.stack = traceback.StackSummary.from_list(frame for frame in part.stack if not is_ours(frame.filename))
        parts += filter(None, (part.__cause__, part.__context__, *(part.exceptions or ())))
    return "".join(report.format())
