"""Files that appear when they are whole, with and without the kernel's help."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

import pytest

from ec262.adapters.files import whole_file
from ec262.adapters.files.whole_file import WholeFile


@pytest.fixture(params=["nameless", "named"])
def _files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "named":
        monkeypatch.setattr(whole_file, "_open_nameless", lambda _folder, _mode: None)


pytestmark = pytest.mark.usefixtures("_files")


def write(path: Path, content: bytes) -> None:
    with WholeFile(path) as whole:
        whole.file.write(content)
        whole.publish()


def test_it_appears_when_it_is_published(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with WholeFile(path) as whole:
        whole.file.write(b"content")
        assert not path.exists()
        whole.publish()
    assert path.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [path]


def test_without_that_nothing_is_there(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"before")
    with WholeFile(path) as whole:
        whole.file.write(b"content")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "new", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o4755])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"before")
    path.chmod(mode)
    write(path, b"content")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"content", mode)
    assert list(tmp_path.iterdir()) == [path]


def test_a_group_that_cannot_be_kept_gives_the_new_one_no_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _user: int, _group: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    path = tmp_path / "old"
    path.write_bytes(b"before")
    path.chmod(0o660)
    monkeypatch.setattr(os, "fchown", refuse)
    write(path, b"content")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_must_not_be_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"before")
    monkeypatch.setattr(os, "access", lambda _path, how: how != os.W_OK)  # as for anybody but root
    with pytest.raises(PermissionError):
        WholeFile(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_of_any_length_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    for content in (b"first", b"second"):
        write(path, content)
        assert path.read_bytes() == content


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WholeFile(tmp_path / "nowhere" / "new")


def test_a_link_planted_at_its_temporary_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is random; this is for an attacker who guesses it, where files have names from the start."""
    monkeypatch.setattr(whole_file, "_open_nameless", lambda *_: None)
    monkeypatch.setattr(secrets, "token_hex", lambda _: "guessed")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".ec262-guessed.partial").symlink_to(victim)
    with pytest.raises(FileExistsError):
        WholeFile(tmp_path / "report.json")
    assert victim.read_text() == "precious"
