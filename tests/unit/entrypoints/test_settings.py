"""Settings: flag before environment before file before default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ec262.domain.availability import IdleRule
from ec262.domain.errors import ConfigurationError
from ec262.domain.job import Limits
from ec262.domain.pool import Tie
from ec262.entrypoints.bootstrap_discovery import discovery_policy
from ec262.entrypoints.settings import Settings, load_settings
from ec262.services.discovery_policy import Policy


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


@pytest.mark.parametrize(
    ("flags", "environ", "complaint"),
    [
        ({"grant": "lots"}, {}, "at `$.grant` (on the command line; its words are 'invitation', 'none')"),
        ({}, {"EC262_SEPARATE": "owners"}, "(in the environment, EC262_SEPARATE; its words are 'owner', 'block')"),
        ({}, {"EC262_HOURS": "22-x"}, "(in the environment, EC262_HOURS)"),
        ({"verify": "faith"}, {}, "(on the command line)"),
        ({"grant": "-1"}, {}, "'grant' must be 0 to 1000000000, or invitation, or none: -1 (on the command line)"),
        ({}, {"EC262_TRUSTED_PROXY": "10.0.0.1 1.2.3"}, "'trusted_proxy' has '1.2.3', which is no address or network"),
        ({}, {"EC262_SANDBOX": "none"}, "(got 'none') (in the environment, EC262_SANDBOX)"),
        ({}, {}, "'rate' must be >= 0: -1.0 (in FILE)"),
    ],
)
def test_bad_values_say_where_they_stand_and_what_may_stand_there(
    tmp_path: Path, flags: dict[str, object], environ: dict[str, str], complaint: str
) -> None:
    file = tmp_path / "ec262.toml"
    file.write_text("rate = -1\n" if "FILE" in complaint else "rate = 1\n")
    with pytest.raises(ConfigurationError) as told:
        load_settings({**flags, "config": str(file)}, environ)
    assert complaint.replace("FILE", str(file)) in str(told.value)
    assert "Attribute(" not in str(told.value)


@pytest.mark.parametrize("name", ["retention", "task_ttl"])
@pytest.mark.parametrize("given", ["inf", "nan", "1e300"])
def test_nothing_is_kept_for_ever(name: str, given: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        load_settings({name: given}, {})


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


def test_the_output_limit_counts_too() -> None:
    assert Settings(output_limit_mib=3).limits.output_bytes == 3 << 20
    assert Settings(task_timeout=7, task_memory=33).task_limits == Limits(cpu_s=7, wall_s=7, memory_bytes=33 << 20)


def test_hours_and_idleness_make_a_rule() -> None:
    assert not Settings().availability.restricted
    lent = load_settings({"hours": ["22-6"]}, {"EC262_WHEN_IDLE": "1", "EC262_IDLE_MINUTES": "2"}).availability
    assert [str(hours) for hours in lent.hours] == ["22:00-06:00"]
    assert lent.idle == IdleRule(load=0.25, input_s=120)
    assert load_settings({}, {"EC262_HOURS": "1-2, 3-4 5-6"}).hours == ("1-2", "3-4", "5-6")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ({"hours": ["25-26"]}, "'25-26' are no hours"),
        ({"sandbox": "none"}, "sandbox"),
        ({"nice": -1}, "nice"),
        ({"round_floats": 16}, "round_floats"),
        ({"idle_load": 0}, "idle_load"),
    ],
)
def test_bad_rules_of_the_owner(flags: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        load_settings(flags, {})


@pytest.mark.parametrize(("given", "grant"), [("12", 12), ("0", 0), ("invitation", "invitation"), ("none", "none")])
def test_what_newcomers_get(given: str, grant: object) -> None:
    assert load_settings({"grant": given}, {}).grant == load_settings({}, {"EC262_GRANT": given}).grant == grant


@pytest.mark.parametrize("given", ["-1", "all", "1.5", "", "1000000001", "9" * 30])
def test_newcomers_get_nothing_else(given: str) -> None:
    with pytest.raises(ConfigurationError, match="grant"):
        load_settings({"grant": given}, {})


@pytest.mark.parametrize(
    ("grant", "credits", "invitations"), [(12, 12, True), (0, 0, True), ("invitation", 0, True), ("none", 0, False)]
)
def test_the_operators_policy(grant: Any, credits: int, *, invitations: bool) -> None:
    settings = Settings(grant=grant, separate=("owner", "block"), max_open_tasks=7, max_escrow=8, retention=9.0)
    assert discovery_policy(settings) == Policy(
        grant=credits,
        invitations=invitations,
        retention_s=9.0,
        max_open_tasks=7,
        max_escrow=8,
        apart=frozenset({Tie.OWNER, Tie.BLOCK}),
    )
    assert discovery_policy(Settings()) == Policy()


@pytest.mark.parametrize("code", ["short", "", "x" * 300, "with space " * 4])
def test_an_invitation_that_cannot_be_one_is_told_without_it(code: str) -> None:
    with pytest.raises(ConfigurationError, match="is no invitation's code") as caught:
        load_settings({"invitation": code}, {})
    assert not code or code not in str(caught.value)


def test_who_pays_is_the_foreman_or_a_worker() -> None:
    assert load_settings({"role": "worker-11235"}, {}).role == "worker-11235"
    with pytest.raises(ConfigurationError, match="must be foreman or worker-PORT"):
        load_settings({"role": "../x"}, {})


@pytest.mark.parametrize(("given", "size"), [("256MB", 256_000_000), ("64MiB", 64 << 20), (100_000_000, 10**8)])
def test_memory_is_an_amount(given: str | int, size: int) -> None:
    assert load_settings({"memory": given}, {}).memory_budget.total_bytes == size
    assert load_settings({}, {"EC262_MEMORY": str(given)}).memory_budget.total_bytes == size


@pytest.mark.parametrize("given", ["1MB", "much", 0])
def test_memory_that_is_none_is_told(given: str | int) -> None:
    with pytest.raises(ConfigurationError, match="memory"):
        load_settings({"memory": given}, {})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("EC262_DISCOVRY", "the environment has EC262_DISCOVRY, which is no setting: is EC262_DISCOVERY meant?"),
        ("EC262_XYZZY_42", "the environment has EC262_XYZZY_42, which is no setting"),
    ],
)
def test_variables_that_are_no_settings_are_told_without_their_value(
    caplog: pytest.LogCaptureFixture, name: str, told: str
) -> None:
    load_settings({}, {name: "hunter2", "EC262_PORT": "1", "EC262X": "1"})
    assert [record.getMessage() for record in caplog.records] == [told]
