"""An error of ``run_job`` shows the caller's frames and those of the job's own code, and nothing in between."""

from __future__ import annotations

import asyncio
import linecache
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ec262
from ec262.domain import errors
from ec262.entrypoints.foreman.session import Session

JOB = """import functools
import ec262

def run(data):
    return ec262.run_job(data, mapper=print, reducer=print)

class Own(Exception):
    pass

@functools.cache
def divide(number):
    return 1 // number

def share(key, number):
    yield key, divide(number)
"""


class Failing(Session):
    """Whose jobs fail as a test says."""

    def __init__(self, failure: BaseException) -> None:
        super().__init__({}, {})
        self.failure = failure

    def run_job(self, _data: Any, _functions: Any, _given: Any, *, quiet: bool = False) -> dict[Any, Any]:
        try:
            return {int("of ours"): 0}
        except ValueError:
            raise self.failure from OSError("of ours")


def failed(report: str, exception: str = "ZeroDivisionError", message: str = "division by zero") -> Exception:
    return errors.UserCodeFailed(
        function="mapper", exception=exception, row="3", frames=(), report=report, message=message
    )


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the user's."""
    (tmp_path / "a_job_that_fails.py").write_text(JOB, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import a_job_that_fails  # type: ignore[import-not-found]  # written above

    yield a_job_that_fails
    del sys.modules["a_job_that_fails"]


def report_of(job: Any, *lines: str) -> str:
    return f"""Traceback (most recent call last):
  File "{job.__file__}", line 15, in share
  File "{job.__file__}", line 12, in divide
  File "json/decoder.py", line 337, in decode
{chr(10).join(lines)}
"""


def raised(job: Any, failure: BaseException) -> BaseException:
    with Failing(failure) as session, pytest.raises(type(failure)) as caught:
        job.run({})
    assert session.failure is caught.value
    return caught.value


def told(error: BaseException) -> list[str]:
    """What Python prints, from the caller's first frame in the user's module on."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    lines = lines[next(number for number, line in enumerate(lines) if "in run" in line) :]
    return [line for line in lines if not set(line) <= set("^~ ")]


def test_the_callers_frames_are_followed_by_the_jobs_own_and_the_sentence(job: Any) -> None:
    error = raised(job, failed(report_of(job, "ZeroDivisionError: division by zero")))
    sentence = "the mapper raised ZeroDivisionError at the row with key 3: division by zero"
    api = ec262.run_job.__code__.co_filename
    lines = told(error)
    assert lines[2].startswith(f'  File "{api}", line ')
    del lines[2:4]
    assert lines == [
        f'  File "{job.__file__}", line 5, in run',
        "    return ec262.run_job(data, mapper=print, reducer=print)",
        f'  File "{job.__file__}", line 15, in share',
        "    yield key, divide(number)",
        f'  File "{job.__file__}", line 12, in divide',
        "    return 1 // number",
        '  File "<json/decoder.py>", line 337, in decode',
        f"ec262.domain.errors.UserCodeFailed: {sentence}",
    ]
    assert (error.__cause__, error.__context__) == (None, None)


def test_the_frames_are_as_those_of_functions_are(job: Any) -> None:
    error = raised(job, failed(report_of(job, "ZeroDivisionError")))
    frames = {entry.tb_frame.f_code.co_name: entry for entry in _entries(error)}
    code = frames["divide"].tb_frame.f_code
    assert (code.co_firstlineno, code.co_qualname) == (11, "divide")
    assert frames["divide"].tb_frame.f_lineno == frames["divide"].tb_lineno == 12
    assert {column for position in code.co_positions() for column in position[2:]} == {None}


def _entries(error: BaseException) -> Any:
    entry = error.__traceback__
    while entry is not None:
        yield entry
        entry = entry.tb_next


def test_a_function_far_down_in_a_long_one() -> None:
    name = "<cell>"
    source = ["def long():\n", *["    pass\n"] * 99_998, "    return here\n"]
    linecache.cache[name] = (1, None, source, name)
    frame = f'  File "{name}", line 100000, in long'
    text = f"Traceback (most recent call last):\n{frame}\nKeyError: 1\n"
    try:
        with Failing(failed(text, "KeyError")), pytest.raises(ec262.UserCodeFailed) as caught:
            ec262.run_job({})
        *_, last = _entries(caught.value)
        assert (last.tb_frame.f_code.co_firstlineno, last.tb_frame.f_lineno) == (1, 100_000)
        assert f"{frame}\n    return here\n" in "".join(traceback.format_exception(caught.value))
    finally:
        del linecache.cache[name]


def test_no_file_is_looked_into_that_is_not_the_jobs(job: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.py"
    secret.write_text("password = 262\n", encoding="utf-8")
    text = f'Traceback (most recent call last):\n  File "{secret}", line 1, in f\nKeyError: 1\n'
    lines = told(raised(job, failed(text, "KeyError")))
    assert f'  File "<{secret}>", line 1, in f' in lines
    assert "password" not in "".join(lines)


def test_notes_and_prints_come_after_the_sentence(job: Any) -> None:
    text = "hello\n" + report_of(job, "ZeroDivisionError: division by zero", "a note")
    assert told(raised(job, failed(text)))[-3:] == ["a note", "the task printed:", "hello"]


def test_a_source_line_that_only_the_worker_has_is_reported(job: Any) -> None:
    text = 'Traceback (most recent call last):\n  File "<stdin>", line 1, in f\n    return typed\nKeyError: 1\n'
    assert told(raised(job, failed(text, "KeyError")))[-5:] == ["full traceback:", *text.splitlines()]


def test_every_exception_of_a_chain_is_shown_with_source_lines(job: Any) -> None:
    first = report_of(job, "KeyError: 1")
    link = "\nDuring handling of the above exception, another exception occurred:\n\n"
    text = first + link + report_of(job, "ZeroDivisionError: division by zero")
    lines = told(raised(job, failed("hello\n" + text)))
    after = lines[lines.index("full traceback:") :]
    assert after.count("    return 1 // number") == 2
    assert "KeyError: 1" in after
    assert after[-2:] == ["the task printed:", "hello"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ZeroDivisionError", ZeroDivisionError), ("json.decoder.JSONDecodeError", "JSONDecodeError"), ("NoSuch", None)],
)
def test_the_type_of_the_exception_is_reachable(job: Any, name: str, kind: Any) -> None:
    error: Any = raised(job, failed("", name))
    found = error.exception_type
    assert found is kind or found.__name__ == kind


def test_the_type_of_an_exception_of_the_job_is_reachable(job: Any) -> None:
    error: Any = raised(job, failed("", "a_job_that_fails.Own"))
    assert error.exception_type is job.Own


@pytest.mark.parametrize(
    "failure",
    [errors.ConfigurationError("no"), errors.FunctionNotPicklable("no"), KeyboardInterrupt(), asyncio.CancelledError()],
)
def test_other_errors_and_interruptions_have_the_callers_frames_only(job: Any, failure: BaseException) -> None:
    error = raised(job, failure)
    assert [entry.tb_frame.f_code.co_name for entry in _entries(error)][-2:] == ["run", "run_job"]
    assert (error.__cause__, error.__context__) == (None, None)


def test_data_that_raise_show_the_callers_frames_and_their_own() -> None:
    def rows() -> Iterator[tuple[int, int]]:
        yield 1, {1: 1}[2]

    for data in (rows, rows(), lambda: rows()):  # noqa: PLW0108 - a function that returns a generator
        with Session({}, {}), pytest.raises(KeyError) as caught:
            ec262.run_job(data, mapper=rows, reducer=rows)
        ours = [entry.tb_frame.f_code.co_name for entry in _entries(caught.value)]
        assert [name for name in ours if name != "<lambda>"] == [
            "test_data_that_raise_show_the_callers_frames_and_their_own",
            "run_job",
            "rows",
        ]


def test_other_exceptions_are_left_as_they_are(job: Any) -> None:
    with Failing(ValueError("a defect")), pytest.raises(ValueError, match="a defect") as caught:
        job.run({})
    assert isinstance(caught.value.__cause__, OSError)


def test_the_error_classes_are_exported() -> None:
    for name in ec262.__all__:
        assert getattr(ec262, name) is not None
    assert ec262.UserCodeFailed is errors.UserCodeFailed
    internal = {"PeerError", "PhaseOver", "SandboxError", "ResultNotStored", "NotCanonical", "LedgerError"}
    first = {kind.__name__ for kind in errors.Ec262Error.__subclasses__() if kind.__module__ == errors.__name__}
    second = {kind.__name__ for kind in errors.JobError.__subclasses__()}
    assert (first - internal) | second <= set(ec262.__all__)
