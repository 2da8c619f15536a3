from __future__ import annotations

from pathlib import Path

import pytest

from ec262.domain.errors import ConfigurationError
from ec262.domain.legacy_2012.constants_2012 import Constants2012
from ec262.entrypoints.discovery.__main__ import _parser
from ec262.entrypoints.shared.settings import DiscoverySettings, load_settings


def test_by_default_it_is_off_and_its_constants_are_those_of_2012() -> None:
    settings = load_settings(DiscoverySettings, vars(_parser().parse_args([])), {})
    assert settings == DiscoverySettings()
    assert not settings.api_2012
    assert settings.constants_2012 == Constants2012()


def test_every_constant_is_a_flag() -> None:
    line = "--api-2012 --task-ttl 3 --api-2012-credits 5 --api-2012-workers 2 --api-2012-port 80 --api-2012-lease 9"
    settings = load_settings(
        DiscoverySettings, vars(_parser().parse_args([*line.split(), "--api-2012-key-bytes", "32"])), {}
    )
    assert settings.api_2012
    assert settings.constants_2012 == Constants2012(
        starting_credits=5, workers_a_task=2, default_port=80, lease_s=9, task_ttl_s=3, key_bytes=32
    )


def test_the_environment_and_the_file_set_them_too(tmp_path: Path) -> None:
    file = tmp_path / "ec262.toml"
    file.write_text("api_2012 = true\ntask_ttl = 7\n")
    settings = load_settings(DiscoverySettings, {"config": str(file)}, {"EC262_TASK_TTL": "3"})
    assert (settings.api_2012, settings.task_ttl) == (True, 3)
    assert load_settings(DiscoverySettings, {}, {"EC262_API_2012": "1"}).api_2012


@pytest.mark.parametrize(
    "environ",
    [
        {"EC262_TASK_TTL": "0"},
        {"EC262_API_2012_CREDITS": "-1"},
        {"EC262_API_2012_CREDITS": "1" + "0" * 30},
        {"EC262_API_2012_WORKERS": "0"},
        {"EC262_API_2012_PORT": "65536"},
        {"EC262_API_2012_LEASE": "86401"},
        {"EC262_API_2012_KEY_BYTES": "8"},
        {"EC262_API_2012": "perhaps"},
    ],
)
def test_bad_constants_are_reported(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="bad setting"):
        load_settings(DiscoverySettings, {}, environ)
