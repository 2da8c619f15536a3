"""Job files: what they declare, and how their mistakes are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ec262.domain.errors import JobDefinitionError, UserCodeFailed
from ec262.entrypoints.foreman.job_file import run_job_file
from ec262.entrypoints.foreman.job_sources import loaded_files, with_source_lines


@pytest.fixture(autouse=True)
def _own_main_module() -> Iterator[None]:
    main, path, arguments = sys.modules["__main__"], list(sys.path), sys.argv
    yield
    sys.argv = arguments
    sys.modules["__main__"] = main
    sys.path[:] = path


def write(folder: Path, text: str) -> str:
    path = folder / "job.py"
    path.write_text(text, encoding="utf-8")
    return str(path)


DECLARED = """
import ec262

@ec262.mapper
def first(key, value): ...

@ec262.mapper
def second(key, value): ...

@ec262.reducer
@ec262.combiner
def add_up(key, values): ...

data = {1: "a"}
"""


def test_the_last_of_each_role_wins_and_data_is_found(tmp_path: Path) -> None:
    job = run_job_file(write(tmp_path, DECLARED))
    names = {role: function and function.__name__ for role, function in job.functions.items()}
    assert names == {"mapper": "second", "reducer": "add_up", "combiner": "add_up", "partitioner": None}
    assert job.data == {1: "a"}
    assert not job.ran_itself


def test_it_runs_as_main_with_its_folder_importable(tmp_path: Path) -> None:
    (tmp_path / "beside_the_job.py").write_text("WORD = 'found'\n")
    text = "import beside_the_job\nassert __name__ == '__main__'\ndata = {__file__: beside_the_job.WORD}\n"
    path = write(tmp_path, text)
    assert run_job_file(path).data == {path: "found"}
    del sys.modules["beside_the_job"]


@pytest.mark.parametrize("arguments", [(), ("--n", "5")])
def test_it_sees_its_own_name_and_arguments_also_when_its_data_are_asked_for(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    path = write(tmp_path, "import sys\nseen = sys.argv\ndef data(): return {1: (seen, sys.argv)}\n")
    expected = [path, *arguments]
    assert run_job_file(path, arguments).data() == {1: (expected, expected)}


def test_nothing_of_an_earlier_file_is_left(tmp_path: Path) -> None:
    run_job_file(write(tmp_path, DECLARED))
    job = run_job_file(write(tmp_path, "x = 1\n"))
    assert job.functions == {"mapper": None, "reducer": None, "combiner": None, "partitioner": None}
    assert job.data is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobDefinitionError, match=r"cannot read the job file .*nowhere.py: No such file"):
        run_job_file(str(tmp_path / "nowhere.py"))


def test_a_syntax_error_is_shown_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(JobDefinitionError, match=r"does not compile:\n(.|\n)*line 2") as caught:
        run_job_file(write(tmp_path, "x = 1\ndef f(:\n"))
    assert "def f(:" in str(caught.value)


def test_an_exception_of_the_file_comes_with_the_users_own_traceback(tmp_path: Path) -> None:
    with pytest.raises(UserCodeFailed, match="the job file raised ZeroDivisionError") as caught:
        run_job_file(write(tmp_path, "def f():\n    return 1 / 0\nf()\n"))
    report = caught.value.report
    assert report.startswith("Traceback")
    assert "job_file.py" not in report
    assert "return 1 / 0" in report


def test_an_exit_of_the_file_is_its_own_business(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run_job_file(write(tmp_path, "raise SystemExit(3)\n"))


def test_source_lines_are_added_where_they_are_missing(tmp_path: Path) -> None:
    path = write(tmp_path, "def f():\n    return 1 / 0\n")
    report = f'Traceback (most recent call last):\n  File "{path}", line 2, in f\nZeroDivisionError: division by zero'
    assert with_source_lines(report, {path}).splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{path}", line 2, in f',
        "    return 1 / 0",
        "ZeroDivisionError: division by zero",
    ]
    once = with_source_lines(report, {path})
    assert with_source_lines(once, {path}) == once
    assert with_source_lines(report, loaded_files()) == report


@pytest.mark.parametrize("line", ['  File "/nowhere.py", line 1, in f', '  File "x", line many', "no frame at all"])
def test_code_without_source_stays_as_it_is(line: str) -> None:
    assert with_source_lines(line, {"x"}) == line
