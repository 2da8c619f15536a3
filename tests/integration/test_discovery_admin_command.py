"""The operator's command, beside a service that runs."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, inspect

from ec262.entrypoints.discovery.bootstrap_discovery import build_discovery_app, open_database
from ec262.entrypoints.discovery_admin import __main__ as discovery_admin
from ec262.entrypoints.shared.settings import DiscoverySettings
from tests.discovery_process import RunningDiscovery, database_of, running_discovery
from tests.discovery_town import build_town
from tests.live_discovery import served

COMMAND = [sys.executable, "-m", "ec262.entrypoints.discovery_admin"]
TOKEN = "somebody-" + "s" * 40


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDiscovery]:
    with running_discovery(tmp_path_factory.mktemp("service"), "--grant", "invitation") as running:
        yield running


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A database in which tasks are under way."""
    url = database_of(tmp_path)
    opened = open_database(DiscoverySettings(database=url))
    town = build_town(workers=4, unit_of_work=opened.unit_of_work)
    task = town.buy_one()
    for position in range(2):
        town.commit(task, position, "same")
    opened.close()
    return url


def open_account(running: RunningDiscovery, token: str = TOKEN, invitation: str | None = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(running.url + "/v1/account", json={"invitation": invitation}, headers=headers, timeout=10)


def asked(database: str, capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    """Run a subcommand in this process; return what it answered in JSON."""
    assert discovery_admin.main([*command, "--database", database, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(database: str, capsys: pytest.CaptureFixture[str], *command: str, status: int = 1) -> str:
    """Run a subcommand that fails; return what it complained of."""
    assert discovery_admin.main([*command, "--database", database]) == status
    told = capsys.readouterr()
    assert told.out == ""
    return told.err.removeprefix("ec262: ").rstrip("\n")


# --- by real commands -----------------------------------------------------------------------------------------------


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *command], capture_output=True, text=True, timeout=60, check=False)


def test_an_operator_s_day(running: RunningDiscovery, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Invite, look, grant, freeze, audit, back up: on the database of a service that runs."""
    code = run("invite", "30", "--owner", "ann", "--database", running.database).stdout.split("\n")[0]
    assert open_account(running).json()["credits"] == 0
    invited = open_account(running, invitation=code).json()
    assert invited["credits"] == 30
    assert open_account(running, "stranger-" + "x" * 40, invitation=code).status_code == 404
    account = invited["account"]
    granted = run("--database", running.database, "grant", account, "5", "--id", "birthday")
    assert granted.stdout == f"granted 5 credits (id birthday): {account} has 35\n"
    assert open_account(running).json()["credits"] == 35
    shown = asked(running.database, capsys, "account", account)
    assert [entry["text"] for entry in shown["history"]] == ["granted by the operator", "an invitation"]
    assert shown["account"]["owner"] == "ann"
    assert asked(running.database, capsys, "freeze", account)["frozen"] is True
    assert open_account(running).json()["frozen"] is True
    audit = run("audit", "--database", running.database)
    assert (audit.returncode, audit.stderr) == (0, "")
    assert audit.stdout.startswith("the books are correct: 2 movements in 2 ledger accounts, 35 credits granted")
    before = open_account(running).json()
    copy = f"sqlite:///{tmp_path / 'copy.sqlite'}"
    assert asked(running.database, capsys, "backup", str(tmp_path / "copy.sqlite"))["bytes"] > 0
    assert asked(running.database, capsys, "unfreeze", account)["frozen"] is False
    with served(build_discovery_app(DiscoverySettings(database=copy))) as restored:
        answer = requests.post(f"{restored}/v1/account", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    assert answer.json() == before


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        discovery_admin.main([])
    assert ended.value.code == 2
    assert "usage: ec262 discovery-admin" in capsys.readouterr().err


# --- subcommands ----------------------------------------------------------------------------------------------------


def test_accounts(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    accounts = asked(database, capsys, "accounts")
    assert len(accounts) == 5
    foreman = max(accounts, key=lambda account: account["credits"])
    assert foreman | {"account": "", "owner": "", "opened_at": 0} == {
        "account": "",
        "owner": "",
        "opened_at": 0,
        "credits": 9,
        "escrow": 1,
        "open_tasks": 1,
        "reports": 0,
        "frozen": False,
    }
    assert discovery_admin.main(["accounts", "--database", database]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["account", "owner", "opened", "credits", "escrow", "open", "tasks", "reports", "frozen"]
    assert len(lines) == 6


def test_an_account_and_its_history(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    foreman = max(asked(database, capsys, "accounts"), key=lambda account: int(account["credits"]))["account"]
    told = asked(database, capsys, "account", foreman)
    assert told["account"]["account"] == foreman
    assert [entry["change"] for entry in told["history"]] == [-3, 12]
    assert len(asked(database, capsys, "account", foreman, "--limit", "1")["history"]) == 1


def test_a_grant_is_repeated_without_harm(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    account = asked(database, capsys, "accounts")[0]["account"]
    first = asked(database, capsys, "grant", account, "7", "--id", "x")
    assert asked(database, capsys, "grant", account, "7", "--id", "x") == first | {"repeated": True}
    assert refused(database, capsys, "grant", account, "8", "--id", "x") == "the id x belongs to another grant"
    assert discovery_admin.main(["grant", account, "7", "--id", "x", "--database", database]) == 0
    assert "already granted" in capsys.readouterr().out


def test_freezing_owners_and_revoking(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    account = asked(database, capsys, "accounts")[0]["account"]
    assert asked(database, capsys, "freeze", account)["frozen"] is True
    assert asked(database, capsys, "unfreeze", account)["frozen"] is False
    assert asked(database, capsys, "owner", account, "bob")["owner"] == "bob"
    assert asked(database, capsys, "owner", account)["owner"] == account
    assert asked(database, capsys, "revoke", account)["account"] == account


def test_invitations(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = asked(database, capsys, "invite", "5", "--uses", "3", "--days", "0.5")
    (listed,) = asked(database, capsys, "invitations")
    assert listed == {name: value for name, value in made.items() if name != "code"}
    assert (listed["credits"], listed["uses_left"], listed["owner"]) == (5, 3, "")
    assert discovery_admin.main(["invitations", "--database", database]) == 0
    assert made["code"] not in capsys.readouterr().out
    assert made["code"].encode() not in Path(database.removeprefix("sqlite:///")).read_bytes()


def test_the_audit_tells_what_is_wrong(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(database, capsys, "audit")["findings"] == []
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as thief:
        thief.execute("UPDATE balances SET balance = balance + 40 WHERE balance = 9")
        thief.commit()
    assert discovery_admin.main(["audit", "--database", database]) == 1
    told = capsys.readouterr().out
    assert "the books are wrong" in told
    assert "has 49 credits, but its transfers add up to 9" in told


def test_a_backup_is_the_owners_alone_and_overwrites_nothing(
    database: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target = tmp_path / "copy"
    assert asked(database, capsys, "backup", str(target))["bytes"] == target.stat().st_size
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert "already exists" in refused(database, capsys, "backup", str(target), status=2)


def test_postgresql_has_its_own_tool(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused("postgresql://ann:secret@db.example/books", capsys, "backup", "file.dump", status=2)
    assert told.endswith("pg_dump --format=custom --file=file.dump postgresql://ann@db.example/books")
    assert "secret" not in told


# --- refusals -------------------------------------------------------------------------------------------------------


def test_no_database_is_made(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    url = database_of(tmp_path)
    for command in (["accounts"], ["backup", str(tmp_path / "copy")]):
        assert "there is no database" in refused(url, capsys, *command, status=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_tables_are_made(
    kind: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if kind == "sqlite":
        url = database_of(tmp_path)
        (tmp_path / "discovery.sqlite").touch()
    else:
        url = request.getfixturevalue("postgres_server").fresh_url(tables=False)
    for command in (["accounts"], ["audit"], ["client-2012", "127.0.0.1"]):
        assert "is not discovery's: it has none of its tables" in refused(url, capsys, *command, status=2)
    opened = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    assert inspect(opened).get_table_names() == []
    opened.dispose()


def test_anchors(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    account = asked(database, capsys, "accounts")[0]["account"]
    asked(database, capsys, "anchor", account)
    assert [each["account"] for each in asked(database, capsys, "anchors")] == [account]
    asked(database, capsys, "anchor", account, "--remove")
    assert asked(database, capsys, "anchors") == []


def test_a_missing_account_is_reported(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("account", "revoke", "freeze", "unfreeze", "owner", "anchor"):
        assert refused(database, capsys, command, "nobody") == "there is no account nobody"


@pytest.mark.parametrize(
    "command",
    [
        ["grant", "x", "0"],
        ["grant", "x", "much"],
        ["invite", "-1"],
        ["steal"],
        ["account", "x", "--limit", "0"],
    ],
)
def test_wrong_usage(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        discovery_admin.main(command)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_locked_database_is_reported(
    database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ec262.adapters.sql.engine.engines.WAIT_S", 0.1)
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "database is locked" in refused(database, capsys, "freeze", "nobody", status=2)
