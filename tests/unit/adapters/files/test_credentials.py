from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from ec262.adapters.files import credentials
from ec262.adapters.files.credentials import TokenFile, load_or_create_token, roles_with_tokens
from ec262.domain.errors import ConfigurationError
from ec262.domain.protocol.token import token_digest

URL = "http://host:26262"


def test_a_token_is_made_once(tmp_path: Path) -> None:
    token = load_or_create_token(tmp_path / "keys", URL, "foreman")
    assert token_digest(token)
    assert load_or_create_token(tmp_path / "keys", URL + "/", "foreman") == token


def test_services_and_roles_have_their_own(tmp_path: Path) -> None:
    pairs = [(URL, "foreman"), (URL, "worker-1"), (URL + "0", "foreman"), ("https://host:26262", "foreman")]
    tokens = {load_or_create_token(tmp_path, url, role) for url, role in pairs}
    assert len(tokens) == len(list(tmp_path.iterdir())) == 4


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_create_token(tmp_path / "deep" / "keys", URL, "foreman")
    finally:
        os.umask(before)
    (file,) = (tmp_path / "deep" / "keys").iterdir()
    assert file.name.startswith("foreman-host-26262-")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_many_at_once_get_the_same(tmp_path: Path) -> None:
    tokens: list[str] = []
    together = threading.Barrier(8)

    def get() -> None:
        together.wait()
        tokens.append(load_or_create_token(tmp_path, URL, "foreman"))

    threads = [threading.Thread(target=get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 8
    assert len(set(tokens)) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_the_second_process_uses_the_token_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / credentials._file_name(URL, "foreman")
    first = "first-" + "f" * 40
    monkeypatch.setattr(Path, "exists", lambda _self: False)
    path.write_text(first)
    assert load_or_create_token(tmp_path, URL, "foreman") == first
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40, b"two tokens in one file, all of them bad"])
def test_a_file_without_a_token_is_reported_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / credentials._file_name(URL, "foreman")
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="token"):
        load_or_create_token(tmp_path, URL, "foreman")
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(ConfigurationError, match="cannot keep the account's token"):
        load_or_create_token(tmp_path / "keys", URL, "foreman")


# --- replacing ------------------------------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, int]:
    return {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_a_new_token_is_written_down_before_the_old_one_goes(tmp_path: Path) -> None:
    old = load_or_create_token(tmp_path, URL, "foreman")
    tokens = TokenFile(tmp_path, URL, "foreman")
    new = tokens.prepare()
    assert token_digest(new) != token_digest(old)
    assert files(tmp_path) == {".token": 0o600, ".next": 0o600}
    assert (tokens.load(), tokens.prepare()) == (old, new)
    tokens.replace()
    assert files(tmp_path) == {".token": 0o600}
    assert tokens.load() == load_or_create_token(tmp_path, URL, "foreman") == new


def test_a_token_that_is_being_replaced_is_not_used(tmp_path: Path) -> None:
    old = load_or_create_token(tmp_path, URL, "worker-1")
    tokens = TokenFile(tmp_path, URL, "worker-1")
    tokens.prepare()
    with pytest.raises(ConfigurationError, match="ec262 account rotate --role worker-1"):
        load_or_create_token(tmp_path, URL, "worker-1")
    tokens.discard_replacement()
    assert load_or_create_token(tmp_path, URL, "worker-1") == old


def test_two_may_replace_at_once(tmp_path: Path) -> None:
    load_or_create_token(tmp_path, URL, "foreman")
    first, second = TokenFile(tmp_path, URL, "foreman"), TokenFile(tmp_path, URL, "foreman")
    new = first.prepare()
    assert second.prepare() == new
    first.replace()
    second.replace()
    assert first.load() == new


def test_a_token_that_was_never_made_or_was_removed_is_reported(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path, URL, "foreman")
    with pytest.raises(ConfigurationError, match="no account of the role 'foreman' is kept"):
        tokens.load()
    load_or_create_token(tmp_path, URL, "foreman")
    tokens.remove()
    tokens.remove()
    with pytest.raises(ConfigurationError, match="no account"):
        tokens.load()


def test_a_replacement_that_is_not_a_token_is_reported(tmp_path: Path) -> None:
    load_or_create_token(tmp_path, URL, "foreman")
    tokens = TokenFile(tmp_path, URL, "foreman")
    (tmp_path / credentials._file_name(URL, "foreman")).with_suffix(".next").write_text("short")
    with pytest.raises(ConfigurationError, match="does not hold an account's token"):
        tokens.prepare()


def test_roles_at_a_service(tmp_path: Path) -> None:
    assert roles_with_tokens(tmp_path / "nowhere", URL) == []
    for url, role in [(URL, "worker-11235"), (URL, "foreman"), (URL + "0", "worker-1"), ("https://host:26262", "x")]:
        load_or_create_token(tmp_path, url, role)
    TokenFile(tmp_path, URL, "foreman").prepare()
    assert roles_with_tokens(tmp_path, URL) == ["foreman", "worker-11235"]


def test_a_mistyped_token_is_reported_and_opens_no_account(tmp_path: Path) -> None:
    token = load_or_create_token(tmp_path, URL, "foreman")
    (file,) = tmp_path.iterdir()
    file.write_text(token.translate({ord(token[3]): "-" if token[3] != "-" else "_"}))
    with pytest.raises(ConfigurationError, match="some of its characters are wrong") as told:
        load_or_create_token(tmp_path, URL, "foreman")
    assert token[8:] not in str(told.value)
    file.write_text(token.partition(".")[0])  # as earlier releases made them
    assert load_or_create_token(tmp_path, URL, "foreman") == token.partition(".")[0]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    folder = tmp_path / "keys"
    token = load_or_create_token(folder, URL, "foreman")
    assert not caplog.messages
    folder.chmod(mode)
    assert load_or_create_token(folder, URL, "foreman") == token
    assert f"other users can write to {folder}" in caplog.text
    caplog.clear()
    assert TokenFile(folder, URL, "foreman").load() == token
    assert f"other users can write to {folder}" in caplog.text


def test_a_token_that_others_can_read_or_replace_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_or_create_token(tmp_path, URL, "foreman")
    (file,) = tmp_path.iterdir()
    file.chmod(0o644)
    load_or_create_token(tmp_path, URL, "foreman")
    assert f"other users can read the account's token in {file}" in caplog.text
    assert "can write" not in caplog.text
    file.chmod(0o620)
    load_or_create_token(tmp_path, URL, "foreman")
    assert f"other users can write to {file}" in caplog.text
