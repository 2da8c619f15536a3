"""Settings: flag before environment before file before default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from ec262.adapters.machine.capacity import NO_LIMIT, Machine
from ec262.domain.discovery.pool.pool import Tie
from ec262.domain.errors import ConfigurationError
from ec262.domain.work.work import Limits
from ec262.domain.worker.availability import IdleRule
from ec262.entrypoints.discovery.bootstrap_discovery import discovery_policy
from ec262.entrypoints.shared import settings as settings_module
from ec262.entrypoints.shared.settings import (
    ALL_NAMES,
    AccountSettings,
    DiscoverySettings,
    ForemanSettings,
    Role,
    WorkerSettings,
    load_settings,
)
from ec262.services.discovery.discovery_policy import Policy

ROLES: tuple[type[Any], ...] = Role.__constraints__


def of_any_role(flags: dict[str, Any], environ: dict[str, str]) -> None:
    """Load the settings as every command does."""
    for role in ROLES:
        load_settings(role, flags, environ)


@pytest.mark.parametrize("role", ROLES)
def test_defaults(role: type[Any]) -> None:
    assert load_settings(role, {}, {}) == role()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_neither_uses_nor_checks_the_settings_of_others(role: type[Any], tmp_path: Path) -> None:
    others = ALL_NAMES - attrs.fields_dict(role).keys()
    file = tmp_path / "ec262.toml"
    file.write_text("".join(f"{name} = [[]]\n" for name in sorted(others)))
    environ = {f"EC262_{name.upper()}": "\0" for name in others}
    assert load_settings(role, {"config": str(file)}, environ) == role()


def test_foremen_and_workers_share_what_says_how_this_machine_computes() -> None:
    shared = attrs.fields_dict(ForemanSettings).keys() & attrs.fields_dict(WorkerSettings).keys()
    assert shared == {
        "discovery", "credentials", "discovery_ca", "invitation", "slots", "allow", "sandbox", "nice",
    }  # fmt: skip
    assert not attrs.fields_dict(DiscoverySettings).keys() & (
        attrs.fields_dict(ForemanSettings).keys() | attrs.fields_dict(WorkerSettings).keys()
    )
    assert attrs.fields_dict(AccountSettings).keys() < attrs.fields_dict(ForemanSettings).keys()


def test_the_order_of_sources(tmp_path: Path) -> None:
    file = tmp_path / "ec262.toml"
    file.write_text('port = 1\nslots = 2\nnice = 3\nallow = ["numpy"]\n')
    environ = {"EC262_PORT": "10", "EC262_SLOTS": "20", "EC262_CONFIG": str(file), "PATH": "/bin"}
    settings = load_settings(WorkerSettings, {"port": 100, "slots": None, "job": "not a setting"}, environ)
    assert (settings.port, settings.slots, settings.nice, settings.allow) == (100, 20, 3, ("numpy",))


def test_lists_in_the_environment() -> None:
    assert load_settings(WorkerSettings, {}, {"EC262_ALLOW": "numpy, scipy"}).allow == ("numpy", "scipy")


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
        of_any_role({}, environ)


@pytest.mark.parametrize(
    ("flags", "environ", "complaint"),
    [
        ({"grant": "lots"}, {}, "at `$.grant` (on the command line; valid values: 'invitation', 'none')"),
        ({}, {"EC262_SEPARATE": "owners"}, "(in the environment, EC262_SEPARATE; valid values: 'owner', 'block')"),
        ({}, {"EC262_HOURS": "22-x"}, "(in the environment, EC262_HOURS)"),
        ({"verify": "faith"}, {}, "(on the command line)"),
        ({"grant": "-1"}, {}, "'grant' must be 0 to 1000000000, invitation or none: -1 (on the command line)"),
        ({}, {"EC262_TRUSTED_PROXY": "10.0.0.1 1.2.3"}, "'trusted_proxy': '1.2.3' does not appear to be"),
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
        of_any_role({**flags, "config": str(file)}, environ)
    assert complaint.replace("FILE", str(file)) in str(told.value)
    assert "Attribute(" not in str(told.value)


@pytest.mark.parametrize("name", ["retention", "history", "task_ttl"])
@pytest.mark.parametrize("given", ["inf", "nan", "1e300"])
def test_nothing_is_kept_forever(name: str, given: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        load_settings(DiscoverySettings, {name: given}, {})


def test_a_file_with_unknown_or_broken_content(tmp_path: Path) -> None:
    file = tmp_path / "ec262.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(ConfigurationError, match="unknown settings: prot"):
        load_settings(WorkerSettings, {"config": str(file)}, {})
    file.write_text("port = \n")
    with pytest.raises(ConfigurationError, match="cannot read the settings file"):
        load_settings(WorkerSettings, {"config": str(file)}, {})


def test_limits_in_bytes() -> None:
    assert WorkerSettings(memory_limit_mib=64).limits.memory_bytes == 64 << 20


def test_the_output_limit_counts_too() -> None:
    assert WorkerSettings(output_limit_mib=3).limits.output_bytes == 3 << 20
    task_limits = ForemanSettings(task_timeout=7, task_memory=33).task_limits
    assert task_limits == Limits(cpu_s=7, wall_s=7, memory_bytes=33 << 20)


def test_hours_and_idleness_make_a_rule() -> None:
    assert not WorkerSettings().availability.restricted
    environ = {"EC262_WHEN_IDLE": "1", "EC262_IDLE_MINUTES": "2"}
    lent = load_settings(WorkerSettings, {"hours": ["22-6"]}, environ).availability
    assert [str(hours) for hours in lent.hours] == ["22:00-06:00"]
    assert lent.idle == IdleRule(load=0.25, input_s=120)
    assert load_settings(WorkerSettings, {}, {"EC262_HOURS": "1-2, 3-4 5-6"}).hours == ("1-2", "3-4", "5-6")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ({"hours": ["25-26"]}, "invalid hours '25-26'"),
        ({"sandbox": "none"}, "sandbox"),
        ({"nice": -1}, "nice"),
        ({"round_floats": 16}, "round_floats"),
        ({"idle_load": 0}, "idle_load"),
    ],
)
def test_bad_rules_of_the_owner(flags: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        of_any_role(flags, {})


@pytest.mark.parametrize(("given", "grant"), [("12", 12), ("0", 0), ("invitation", "invitation"), ("none", "none")])
def test_what_newcomers_get(given: str, grant: object) -> None:
    assert load_settings(DiscoverySettings, {"grant": given}, {}).grant == grant
    assert load_settings(DiscoverySettings, {}, {"EC262_GRANT": given}).grant == grant


@pytest.mark.parametrize("given", ["-1", "all", "1.5", "", "1000000001", "9" * 30])
def test_newcomers_get_nothing_else(given: str) -> None:
    with pytest.raises(ConfigurationError, match="grant"):
        load_settings(DiscoverySettings, {"grant": given}, {})


@pytest.mark.parametrize(
    ("grant", "credits", "invitations"), [(12, 12, True), (0, 0, True), ("invitation", 0, True), ("none", 0, False)]
)
def test_the_operators_policy(grant: Any, credits: int, *, invitations: bool) -> None:
    settings = DiscoverySettings(
        grant=grant,
        separate=("owner", "block"),
        max_open_tasks=7,
        max_escrow=8,
        retention=9.0,
        history=10.0,
        max_beginners=11,
    )
    assert discovery_policy(settings) == Policy(
        grant=credits,
        invitations=invitations,
        retention_s=9.0,
        history_s=10.0,
        max_open_tasks=7,
        max_escrow=8,
        max_beginners=11,
        apart=frozenset({Tie.OWNER, Tie.BLOCK}),
    )
    assert discovery_policy(DiscoverySettings()) == Policy()


@pytest.mark.parametrize("code", ["short", "", "x" * 300, "with space " * 4])
def test_a_malformed_invitation_is_reported_without_showing_it(code: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an invitation code") as caught:
        load_settings(WorkerSettings, {"invitation": code}, {})
    assert not code or code not in str(caught.value)


def test_a_role_is_foreman_or_worker_with_port() -> None:
    assert load_settings(ForemanSettings, {"role": "worker-11235"}, {}).role == "worker-11235"
    with pytest.raises(ConfigurationError, match="must be foreman or worker-PORT"):
        load_settings(ForemanSettings, {"role": "../x"}, {})


@pytest.mark.parametrize(("given", "size"), [("256MB", 256_000_000), ("64MiB", 64 << 20), (100_000_000, 10**8)])
def test_memory_is_an_amount(given: str | int, size: int) -> None:
    assert load_settings(ForemanSettings, {"memory": given}, {}).memory_budget.total_bytes == size
    assert load_settings(ForemanSettings, {}, {"EC262_MEMORY": str(given)}).memory_budget.total_bytes == size


@pytest.mark.parametrize("given", ["1MB", "much", 0])
def test_an_invalid_amount_of_memory_is_reported(given: str | int) -> None:
    with pytest.raises(ConfigurationError, match="memory"):
        load_settings(ForemanSettings, {"memory": given}, {})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("EC262_DISCOVRY", ": did you mean EC262_DISCOVERY?"),
        ("EC262_POTR", ": did you mean EC262_PORT?"),
        ("EC262_CONFGI", ": did you mean EC262_CONFIG?"),
        ("EC262_XYZZY_42", ""),
        ("EC262_QUIET", ""),  # nothing like EC262_NICE
        ("EC262_OUTPUT", ""),
    ],
)
def test_unknown_variables_are_reported_without_their_values(
    caplog: pytest.LogCaptureFixture, name: str, told: str
) -> None:
    load_settings(ForemanSettings, {}, {name: "hunter2", "EC262_PORT": "1", "EC262X": "1"})
    warning = f"unknown setting {name} in the environment{told}"
    assert [record.getMessage() for record in caplog.records] == [warning]


@pytest.mark.parametrize(
    ("processors", "memory_mib", "slots", "task_mib"),
    [
        (8.0, 64 << 10, 8, 1024),
        (0.25, 64 << 10, 1, 1024),
        (2.0, 400, 1, 272),
        (8.0, 128 + 3 * 1024, 3, 1024),
        (4.0, 100, 1, 16),
        (4.0, NO_LIMIT, 4, 1024),
        (4096.0, NO_LIMIT, 1024, 1024),
    ],
)
def test_slots_and_their_memory_go_by_what_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, processors: float, memory_mib: float, slots: int, task_mib: int
) -> None:
    machine = Machine(processors=processors, memory_bytes=memory_mib * (1 << 20))
    monkeypatch.setattr(settings_module, "local_machine", lambda: machine)
    settings = WorkerSettings()
    assert (settings.slots, settings.memory_limit_mib) == (slots, task_mib)


def test_too_many_packages_are_reported_before_discovery_refuses_them() -> None:
    names = [f"{number:064}" for number in range(65)]
    with pytest.raises(ConfigurationError, match="'allow' have 4160 characters in total: at most 4096"):
        load_settings(WorkerSettings, {"allow": names}, {})
