"""Settings: flag before environment before file before default."""

from __future__ import annotations

from pathlib import Path

import pytest

from ec262.domain.errors import ConfigurationError
from ec262.entrypoints.settings import Settings, load_settings


def test_defaults() -> None:
    assert load_settings({}, {}) == Settings()


def test_the_order_of_sources(tmp_path: Path) -> None:
    file = tmp_path / "ec262.toml"
    file.write_text('port = 1\nslots = 2\ngrant = 3\nallow = ["numpy"]\n')
    environ = {"EC262_PORT": "10", "EC262_SLOTS": "20", "EC262_CONFIG": str(file), "PATH": "/bin"}
    settings = load_settings({"port": 100, "slots": None, "job": "not a setting"}, environ)
    assert (settings.port, settings.slots, settings.grant, settings.allow) == (100, 20, 3, ("numpy",))


def test_lists_in_the_environment() -> None:
    assert load_settings({}, {"EC262_ALLOW": "numpy, scipy"}).allow == ("numpy", "scipy")


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"EC262_PORT": "70000"}, "port"),
        ({"EC262_PORT": "x"}, "port"),
        ({"EC262_VERIFY": "majority:4:2"}, "not a majority"),
        ({"EC262_VERIFY": "faith"}, "unknown verification rule 'faith'"),
        ({"EC262_CONFIG": "/nowhere.toml"}, "cannot read the settings file"),
    ],
)
def test_bad_values_say_which_setting(environ: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        load_settings({}, environ)


def test_a_file_with_unknown_or_broken_content(tmp_path: Path) -> None:
    file = tmp_path / "ec262.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(ConfigurationError, match="settings that do not exist: prot"):
        load_settings({"config": str(file)}, {})
    file.write_text("port = \n")
    with pytest.raises(ConfigurationError, match="cannot read the settings file"):
        load_settings({"config": str(file)}, {})


def test_limits_in_bytes() -> None:
    assert Settings(memory_limit_mib=64).limits.memory_bytes == 64 << 20
