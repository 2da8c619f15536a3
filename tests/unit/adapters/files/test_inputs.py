"""Rows from files, and results as lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from ec262.adapters.files.inputs import read_rows
from ec262.domain.errors import JobDefinitionError
from ec262.domain.foreman.data.shuffle import ResultLines


def write(folder: Path, content: bytes) -> str:
    path = folder / "input.txt"
    path.write_bytes(content)
    return str(path)


def test_lines_have_path_and_number_as_key(tmp_path: Path) -> None:
    path = write(tmp_path, "one\nzwei ä\r\n\nlast".encode())
    assert list(read_rows([path], "lines")) == [
        ((path, 1), "one"),
        ((path, 2), "zwei ä"),
        ((path, 3), ""),
        ((path, 4), "last"),
    ]


def test_a_file_keeps_its_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path, b"one\r\ntwo\rthree\n")
    assert list(read_rows([path], "file")) == [(path, "one\r\ntwo\rthree\n")]


def test_jsonl_rows_are_lists_of_two(tmp_path: Path) -> None:
    path = write(tmp_path, b'["a", 1]\n\n[ "b" , {"x": [1.5, null]} ]\n[{"$tuple":[1,2]},{"$bytes":"AA=="}]\n')
    assert list(read_rows([path], "jsonl")) == [("a", 1), ("b", {"x": [1.5, None]}), ((1, 2), b"\0")]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'["a", 1]\n["b"]\n', r"line 2: expected a list \[key, value\], found list"),
        (b"{}\n", "line 1: expected a list"),
        (b'["a", 1]\n["b", \n', "line 2: not JSON"),
        (b"[" * 100_000, "line 1: not JSON"),
    ],
)
def test_bad_jsonl_names_the_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    with pytest.raises(JobDefinitionError, match=complaint):
        list(read_rows([write(tmp_path, content)], "jsonl"))


@pytest.mark.parametrize("file_format", ["lines", "file", "jsonl"])
def test_undecodable_bytes_are_reported_with_file_and_position(tmp_path: Path, file_format: str) -> None:
    path = write(tmp_path, b"abc\xff")
    with pytest.raises(JobDefinitionError, match="is not UTF-8 text: invalid start byte at byte 3"):
        list(read_rows([path], file_format))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobDefinitionError, match=r"cannot read .*missing.txt: No such file"):
        list(read_rows([str(tmp_path / "missing.txt")], "lines"))


def test_results_can_be_read_back_as_input(tmp_path: Path) -> None:
    result = {"ä": 1, (1, "x"): [1.0, None], b"\xff": {"n": 2**70}}
    lines = ResultLines()
    lines.add(0, [list(result.items())])
    path = write(tmp_path, b"".join(lines.lines()))
    assert dict(read_rows([path], "jsonl")) == result
