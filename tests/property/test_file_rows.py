"""Files cut by offset give the rows that reading them from the first to the last byte gives."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ec262.adapters.files import file_rows as module
from ec262.adapters.files.file_rows import FileRows, InputFiles, file_rows
from ec262.adapters.files.inputs import read_rows
from ec262.domain.errors import JobDefinitionError
from ec262.domain.foreman.data.partition import split
from ec262.domain.values import canonical

texts = st.lists(st.sampled_from(["a", "ä", "\n", "\r", "\r\n", "\n\n", "€uro", "x" * 50, '"', "\u2028"])).map("".join)
json_lines = st.lists(st.sampled_from(['["a",1]\n', '[ "b", [2] ]\r\n', "\n", "  \n", '["ä",{"$tuple":[]}]\n'])).map(
    "".join
)


def every_row(rows: FileRows, parts: int = 3) -> list[Any]:
    cut = split(rows.sizes, min(parts, len(rows.sizes))) if rows.sizes else []
    return [tuple(row) for pieces in cut for row in canonical.decode(rows.payload(pieces))]


def opened(paths: list[str], file_format: str) -> FileRows:
    rows = file_rows(InputFiles(tuple(paths), file_format), more_than=-1)
    assert rows is not None
    return rows


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_PIECE_BYTES", 16)
    monkeypatch.setattr(module, "READ_BYTES", 3)


@pytest.mark.parametrize(("file_format", "contents"), [("lines", texts), ("file", texts), ("jsonl", json_lines)])
@given(data=st.data(), parts=st.integers(1, 5))
def test_rows_are_those_of_reading_all(file_format: str, contents: Any, data: Any, parts: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, text in enumerate(data.draw(st.lists(contents, min_size=1, max_size=4))):
            paths.append(str(Path(folder, f"{number}.txt")))
            Path(paths[-1]).write_bytes(text.encode())
        rows = opened(paths, file_format)
        expected = list(read_rows(paths, file_format))
        assert every_row(rows, parts) == expected
        if file_format != "jsonl":
            assert rows.count == len(expected)


def written(folder: Path, content: bytes) -> str:
    path = folder / "input.txt"
    path.write_bytes(content)
    return str(path)


def test_files_are_cut_where_it_is_worth_it(tmp_path: Path) -> None:
    path = written(tmp_path, b"some words in a line\n" * 1000)
    files = InputFiles((path,), "lines")
    assert file_rows(files, more_than=21_000) is None
    rows = file_rows(files, more_than=20_999)
    assert rows is not None
    assert rows.count == len(rows.sizes) == 1000
    rows.close()


def test_a_special_file_is_not_split(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert file_rows(InputFiles((written(tmp_path, b"a"), str(pipe)), "lines"), more_than=-1) is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobDefinitionError, match=r"cannot read .*missing.txt: No such file"):
        opened([str(tmp_path / "missing.txt")], "lines")


@pytest.mark.parametrize("file_format", ["lines", "file", "jsonl"])
@pytest.mark.parametrize(
    ("content", "place"), [(b"abc\xff", "invalid start byte at byte 3"), (b"abcdefg\n" * 9 + b"\xe2\x82", "byte 72")]
)
def test_undecodable_bytes_are_reported_before_anything_is_sent(
    tmp_path: Path, file_format: str, content: bytes, place: str
) -> None:
    with pytest.raises(JobDefinitionError, match=f"is not UTF-8 text: .*{place}"):
        opened([written(tmp_path, content)], file_format)


def test_a_line_that_is_not_json_is_reported_when_it_is_sent(tmp_path: Path) -> None:
    rows = opened([written(tmp_path, b'["a",1]\n' * 20 + b"nonsense\n")], "jsonl")
    with pytest.raises(JobDefinitionError, match="line 21: not JSON"):
        every_row(rows)


@pytest.mark.parametrize("change", ["append", "rewrite", "replace", "remove", "truncate"])
def test_a_file_that_changes_during_the_run_ends_the_job(tmp_path: Path, change: str) -> None:
    path = Path(written(tmp_path, b"a line of words\n" * 50))
    rows = opened([str(path)], "lines")
    match change:
        case "append":
            with path.open("ab") as file:
                file.write(b"more\n")
        case "rewrite":
            path.write_bytes(b"b line of words\n" * 50)
            os.utime(path, ns=(1, 1))
        case "replace":
            other = tmp_path / "other"
            other.write_bytes(b"c line of words\n" * 50)
            other.replace(path)
        case "remove":
            path.unlink()
        case "truncate":
            path.write_bytes(b"")
    with pytest.raises(JobDefinitionError, match=r"has changed since the job began|cannot read"):
        every_row(rows)


@pytest.mark.parametrize("file_format", ["lines", "file"])
def test_a_row_larger_than_a_message_is_reported_before_anything_is_sent(
    tmp_path: Path, file_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROW_BYTES", 1000)
    path = written(tmp_path, b"short\n" + b"x" * 2000)
    with pytest.raises(JobDefinitionError, match="a worker accepts at most"):
        opened([path], file_format)


def test_a_row_that_grows_when_it_is_encoded_is_reported_when_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROW_BYTES", 1000)
    rows = opened([written(tmp_path, b"\x01" * 900)], "lines")
    with pytest.raises(JobDefinitionError, match="a worker accepts at most"):
        every_row(rows)


def test_very_many_small_files_make_few_pieces(tmp_path: Path) -> None:
    paths = []
    for number in range(9000):
        paths.append(str(tmp_path / str(number)))
        Path(paths[-1]).write_bytes(b"w\n")
    rows = opened(paths, "file")
    assert rows.count == 9000
    assert len(rows.sizes) <= 8192
    assert every_row(rows, 7) == [(path, "w\n") for path in paths]
    assert list(itertools.islice(read_rows(paths, "file"), 2)) == every_row(rows)[:2]
