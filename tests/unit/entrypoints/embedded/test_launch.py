"""When the foreman command launches the embedded system's supervisor early."""

from __future__ import annotations

from pathlib import Path

import pytest

from ec262.entrypoints.embedded import launch
from ec262.entrypoints.foreman import __main__ as foreman

URL = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("discovery", "environ", "count"),
    [(None, {}, 1), (URL, {}, 0), (None, {"EC262_DISCOVERY": URL}, 0)],
)
def test_a_discovery_service_that_is_named_is_used(discovery: str | None, environ: dict[str, str], count: int) -> None:
    assert launch.is_needed(discovery=discovery, config=None, environ=environ) == count


@pytest.mark.parametrize(("text", "count"), [("seed = 1", 1), (f'discovery = "{URL}"', 0), ("[", 0)])
def test_so_is_one_in_a_settings_file(tmp_path: Path, text: str, count: int) -> None:
    file = tmp_path / "ec262.toml"
    file.write_text(text, encoding="utf-8")
    assert launch.is_needed(discovery=None, config=str(file), environ={}) == count
    assert launch.is_needed(discovery=None, config=None, environ={"EC262_CONFIG": str(file)}) == count


def test_a_settings_file_that_cannot_be_read_launches_nothing(tmp_path: Path) -> None:
    assert not launch.is_needed(discovery=None, config=str(tmp_path / "nowhere"), environ={})


def test_the_command_launches_none_for_a_service_in_its_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launched() -> None:
        raise AssertionError("a supervisor was launched")

    monkeypatch.setattr(launch, "launch_supervisor", launched)
    (tmp_path / "ec262.toml").write_text(f'discovery = "{URL}"', encoding="utf-8")
    assert foreman.main([str(tmp_path / "nowhere.py"), "--config", str(tmp_path / "ec262.toml")]) == 2
