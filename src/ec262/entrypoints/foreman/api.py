"""The Python API of jobs: ``import ec262`` gives these names.

Nothing heavy is imported here, because a job's module is also loaded where only its functions are needed.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType
from typing import Any, TypeVar

from ec262.domain.work.roles import ROLES
from ec262.entrypoints.foreman.marked import Marked, Namespace

calls = 0
"""How often ``run_job`` was called in this process; shows whether a job file runs its job by itself."""

advises = False
"""Whether this process prints at exit how to run the job that its script declares."""

read_by_command = False
"""Whether the ``foreman`` command runs the job file; otherwise Python does."""

F = TypeVar("F", bound=Callable[..., Any])

Data = Mapping[Any, Any] | Iterable[tuple[Any, Any]] | Callable[[], Any]

marked = Marked()
"""The functions that the decorators have marked."""


def mapper(function: F) -> F:
    """Mark ``mapper(key, value)``: for each row of the data it returns an iterable of (key, value) pairs.

    ``random`` is seeded for each row from the job's seed and the row's key: rows with equal keys get equal numbers.
    """
    _mark("mapper", function)
    return function


def reducer(function: F) -> F:
    """Mark ``reducer(key, values)``: for each key that the mapper yielded, with the tuple of all its values in the
    order of the data, it returns an iterable of (key, value) pairs; the result holds them all. If a key occurs more
    than once, the last value wins.
    """
    _mark("reducer", function)
    return function


def combiner(function: F) -> F:
    """Mark ``combiner(key, values)``, optional: a reducer that a worker applies to the pairs of its own rows, so that
    less data is sent. The reducer then gets the combined values. The grouping of rows must not affect the result."""
    _mark("combiner", function)
    return function


def partitioner(function: F) -> F:
    """Mark ``partitioner(key)``, optional: it returns an int for each key that the mapper or the combiner yielded.

    Keys are reduced in the order of their numbers, and keys with the same number in the same task. Like the other
    functions, it runs on the workers. It must depend on the key alone.
    """
    _mark("partitioner", function)
    return function


def _mark(role: str, function: Callable[..., Any]) -> None:
    global advises  # noqa: PLW0603 - as for ``calls``
    namespace = sys._getframe(2).f_globals  # noqa: SLF001 - the module that contains the decorator
    if not advises and namespace.get("__name__") == "__main__" and namespace.get("__file__"):
        advises = True
        atexit.register(_tell_how_to_run)
    marked.mark(role, function, namespace)


def _tell_how_to_run() -> None:
    """Print how to run a job file that only declares a job: run by Python, it does nothing."""
    if not read_by_command and calls == 0:
        print(f"ec262: {sys.argv[0]} declares a job; to run it: ec262 foreman {sys.argv[0]}", file=sys.stderr)


def run_job(
    data: Data,
    workers: int | None = None,
    *,
    mapper: Callable[..., Any] | None = None,
    reducer: Callable[..., Any] | None = None,
    combiner: Callable[..., Any] | None = None,
    partitioner: Callable[..., Any] | None = None,
    quiet: bool = False,
    **settings: Any,
) -> dict[Any, Any]:
    """Run a MapReduce job and return its result as a dict.

    ``data`` is a mapping, an iterable of (key, value) pairs, or a function that returns one. The functions default to
    those that the calling module has marked; a new mapper starts the next job's set. If functions are passed, only
    these are used. ``workers`` is the number of workers of the embedded system, if no discovery service is configured.
    ``quiet`` hides progress; the first job of a process shows it at once, later jobs if they take longer than 5 s.
    ``settings`` are those of the ``foreman`` command: ``discovery``, ``seed``, ``verify``, ``task_timeout``,
    ``attempts``, ``patience``, ``memory``, ``map_tasks``, ``reduce_tasks``, ``credentials``. ``verify`` is a rule as
    text, or a rule of your own (see ``ec262.VerificationPlan``).

    Keys and values may be None, bool, int, float, complex, str, bytes, bytearray, and lists, tuples, dicts, sets and
    frozensets of these. Every failure raises a subclass of ``ec262.Ec262Error``. If a function of the job raises an
    exception, UserCodeFailed is raised: its traceback ends in that function, and its ``exception_type`` is the class of
    the exception.
    """
    global calls  # noqa: PLW0603 - one counter a process
    __tracebackhide__ = True  # pytest and IPython hide this frame
    calls += 1
    from ec262.entrypoints.foreman.session import current_session
    from ec262.entrypoints.foreman.tracebacks import for_the_author

    functions = dict(zip(ROLES, (mapper, reducer, combiner, partitioner), strict=True))
    given = {name: value for name, value in ({"workers": workers} | settings).items() if value is not None}
    try:
        if mapper is None and reducer is None:
            ours = marked.take(_namespaces(sys._getframe(1)))  # noqa: SLF001 - the module that calls has marked them
            functions |= {role: function for role, function in ours.items() if functions[role] is None}
        return current_session().run_job(data, functions, given, quiet=quiet)
    except BaseException as error:
        failure = for_the_author(error)
        if failure is None:
            raise
    raise failure


def _namespaces(frame: FrameType | None) -> Iterator[Namespace]:
    while frame is not None:
        yield frame.f_globals
        frame = frame.f_back
