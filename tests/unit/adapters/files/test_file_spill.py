"""Spills in files: nobody else's to read, nothing left, and told when there is no room."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from ec262.adapters.files import file_spill
from ec262.adapters.files.file_spill import FileSpill, room_for_large_files
from ec262.domain.errors import ConfigurationError, SpillFailed
from tests.full_disk import files_up_to


def test_the_file_has_no_name_and_is_nobody_elses(tmp_path: Path) -> None:
    spill = FileSpill(tmp_path)
    spill.append(b"secret")
    status = os.fstat(spill._file.fileno())
    assert list(tmp_path.iterdir()) == []
    assert (stat.S_IMODE(status.st_mode), status.st_nlink, status.st_size) == (0o600, 0, 6)
    assert not os.get_inheritable(spill._file.fileno())
    spill.close()


def test_a_full_disk_is_reported_with_the_folder_and_advice(tmp_path: Path) -> None:
    spill = FileSpill(tmp_path)
    with files_up_to(1000), pytest.raises(SpillFailed, match=f"cannot be put away in {tmp_path}: .*; set TMPDIR"):
        spill.append(b"x" * 2000)
    spill.close()


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_tmpdir_is_where_it_goes_or_fails(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    if kind == "file":
        folder.write_text("")
    monkeypatch.setenv("TMPDIR", str(folder))
    with pytest.raises(SpillFailed, match=f"in {folder}"):
        FileSpill()


def test_without_tmpdir_it_goes_where_large_files_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(file_spill, "LARGE_FILES", tmp_path)
    large = FileSpill()
    monkeypatch.setattr(file_spill, "LARGE_FILES", tmp_path / "nowhere")
    other = FileSpill()
    assert (large._parent, other._parent) == (tmp_path, Path(tempfile.gettempdir()))
    large.close()
    other.close()


def test_a_file_that_lost_its_end_is_noticed(tmp_path: Path) -> None:
    spill = FileSpill(tmp_path)
    spill.append(b"abcdef")
    os.ftruncate(spill._file.fileno(), 3)
    with pytest.raises(SpillFailed, match="not there any more"):
        spill.read(0, 6)
    spill.close()


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    spill = FileSpill(tmp_path)
    spill.append(b"abc")
    folder = os.open(tmp_path, os.O_RDONLY)
    os.dup2(folder, spill._file.fileno())  # reading a folder is an error
    os.close(folder)
    with pytest.raises(SpillFailed, match="directory"):
        spill.read(0, 3)
    spill.close()


# --- before anything is written -------------------------------------------------------------------------------------


def test_the_room_for_large_files_is_shown_and_nothing_is_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder, free_bytes = room_for_large_files()
    assert (folder, list(tmp_path.iterdir())) == (tmp_path, [])
    assert free_bytes > 0


@pytest.mark.parametrize("kind", ["missing", "file", "full"])
def test_a_folder_that_takes_no_large_files_is_an_error_that_names_it(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    if kind == "file":
        folder.write_text("")
    if kind == "full":
        folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    with files_up_to(2), pytest.raises(ConfigurationError, match=f"in {folder} .*: set TMPDIR to a folder"):
        room_for_large_files()


def test_a_folder_with_too_little_room_is_an_error_that_says_how_much_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    free = room_for_large_files()[1]
    with pytest.raises(ConfigurationError, match=rf"only \d+ MiB are free .* in {tmp_path}, .* \d+ MiB are needed"):
        room_for_large_files(least_bytes=2 * free)
