"""The account holder's command, against a real service."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import requests
from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from ec262.adapters.files.credentials import TokenFile, load_or_create_token
from ec262.domain.discovery.ledger import operator_grant
from ec262.entrypoints.account import __main__ as account
from ec262.entrypoints.discovery.discovery_api import discovery_app
from tests.discovery_process import running_discovery
from tests.discovery_town import Town, build_town, digest, registration
from tests.live_discovery import served

COMMAND = [sys.executable, "-m", "ec262.entrypoints.account"]


@pytest.fixture
def town() -> Town:
    return build_town(workers=3)


@pytest.fixture
def url(town: Town) -> Iterator[str]:
    with served(discovery_app(town.service, town.bell)) as url:
        yield url


class Holder:
    """Somebody with a folder of tokens, who types commands."""

    def __init__(self, folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self._url = url

    def token(self, role: str = "foreman") -> str:
        return load_or_create_token(self.folder, self._url, role)

    def tokens(self, role: str = "foreman") -> TokenFile:
        return TokenFile(self.folder, self._url, role)

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command; return what it said, on standard error if it failed."""
        flags = ("--discovery", self._url, "--credentials", str(self.folder), "--patience", "0.1")
        assert account.main([*flags, *command]) == status
        told = self._capsys.readouterr()
        assert "" in {told.out, told.err}
        for path in self.folder.glob("*"):
            assert path.read_text().strip() not in told.out + told.err
        return told.err if status else told.out

    def asked(self, *command: str) -> Any:
        return json.loads(self.run(*command, "--json"))


@pytest.fixture
def holder(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> Holder:
    return Holder(tmp_path, url, capsys)


# --- looking --------------------------------------------------------------------------------------------------------


def test_status_of_all_roles(town: Town, holder: Holder) -> None:
    town.service.accounts.open_with_grant(holder.token(), 40)
    town.service.accounts.open_with_grant(holder.token("worker-11235"), 2)
    told = {each["role"]: each for each in holder.asked("status")}
    assert {role: its["credits"] for role, its in told.items()} == {"foreman": 40, "worker-11235": 2}
    assert [each["role"] for each in holder.asked("status", "--role", "worker-11235")] == ["worker-11235"]
    lines = holder.run("status").splitlines()
    assert lines[0].split() == ["role", "account", "credits", "escrow", "open", "tasks", "reports", "frozen"]
    assert lines[1].split()[0] == "foreman"


def test_why_do_i_have_seven_credits(town: Town, holder: Holder) -> None:
    """A worker that also bought a task: starting credits, pay, a purchase and its refund are told, one a line."""
    token = holder.token()
    mine = town.service.accounts.open_with_grant(token, 6).account
    town.service.workers.register(token, registration(), source="127.0.0.1")
    won = town.buy_one()
    while mine not in {replica.worker for replica in won.replicas}:
        town.clock.advance(601)
        town.service.accounts.open_with_grant("f" * 40, 300)
        won = town.buy_one()
    for replica in won.replicas:
        town.commit_as(token if replica.worker == mine else town.tokens[replica.worker], won.task, digest("same"))
    (line,) = [line for line in holder.run("history").splitlines() if won.task in line]
    assert re.search(rf" \+1 +7  computed task {won.task}: the result won$", line)
    entries = holder.asked("history")
    assert [(entry["change"], entry["balance"]) for entry in entries] == [(1, 7), (6, 6)]
    assert len(holder.asked("history", "--limit", "1")) == 1


def test_options_mean_the_same_before_the_command_and_after_it(town: Town, holder: Holder) -> None:
    for role in ("foreman", "worker-7"):
        town.service.accounts.open_with_grant(holder.token(role), len(role))
    after = holder.run("history", "--role", "worker-7", "--json")
    assert holder.run("--role", "worker-7", "--json", "history") == after
    assert json.loads(after) != json.loads(holder.run("history", "--json"))


def test_a_long_history_is_read_page_by_page(town: Town, holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ec262.domain.protocol.account_calls.MAX_HISTORY", 2)
    mine = town.service.accounts.open_with_grant(holder.token(), 1).account
    with town.service._unit_of_work() as uow:
        uow.ledger.post(operator_grant(mine, 1, id=str(number), at=0) for number in range(6))
        uow.commit()
    assert [entry["balance"] for entry in holder.asked("history")] == [7, 6, 5, 4, 3, 2, 1]
    assert [entry["balance"] for entry in holder.asked("history", "--limit", "3")] == [7, 6, 5]


# --- replacing and closing ------------------------------------------------------------------------------------------


def test_a_token_is_replaced(town: Town, holder: Holder) -> None:
    old = holder.token()
    mine = town.service.accounts.open_with_grant(old, 5).account
    assert "token replaced" in holder.run("rotate")
    assert holder.token() != old
    assert town.service.accounts.status(holder.token()).account == mine
    assert [path.suffix for path in holder.folder.iterdir()] == [".token"]


@contextmanager
def lossy(town: Town) -> Iterator[tuple[str, list[str]]]:
    """A service that loses an answer for each path in the list."""
    app: Starlette = discovery_app(town.service, town.bell)
    lost: list[str] = []

    async def losing(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_unless_lost(message: Message) -> None:
            if scope["path"] in lost and message.get("status", 0) in {200, 204}:
                lost.remove(scope["path"])
                raise ConnectionError("the answer is lost")
            await send(message)

        await app(scope, receive, send if scope["type"] != "http" else send_unless_lost)

    with served(losing) as url:
        yield url, lost


def test_a_lost_answer_does_not_lose_the_account(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Discovery has taken the new token; when it is asked again, it does not know the old one any more."""
    with lossy(town) as (url, lost):
        holder = Holder(tmp_path, url, capsys)
        mine = town.service.accounts.open_with_grant(holder.token(), 5).account
        lost.append("/v1/account/token")
        assert "token replaced" in holder.run("rotate", "--patience", "5")
        assert town.service.accounts.status(holder.token()).account == mine


def test_a_service_that_goes_silent_does_not_take_the_account_along(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lossy(town) as (url, lost):
        holder = Holder(tmp_path, url, capsys)
        mine = town.service.accounts.open_with_grant(holder.token(), 5).account
        lost.extend(["/v1/account/token", "/v1/account"] * 10)
        assert "run this command again" in holder.run("rotate", status=1)
        assert "being replaced: finish that with `ec262 account rotate" in holder.run("status", status=2)
        lost.clear()
        assert "token replaced" in holder.run("rotate")
        assert town.service.accounts.status(holder.token()).account == mine


def test_a_crash_before_discovery_knew(town: Town, holder: Holder) -> None:
    mine = town.service.accounts.open_with_grant(holder.token(), 5).account
    holder.tokens().prepare()
    assert "token replaced" in holder.run("rotate")
    assert town.service.accounts.status(holder.token()).account == mine


def test_a_token_that_opens_nothing_cannot_be_replaced(holder: Holder) -> None:
    token = holder.token()
    assert "no account has this token" in holder.run("rotate", status=1)
    assert holder.token() == token


def test_a_frozen_account_keeps_its_token(town: Town, holder: Holder) -> None:
    token = holder.token()
    mine = town.service.accounts.open_with_grant(token, 5).account
    with town.service._unit_of_work() as uow:
        account = uow.accounts.get(mine)
        assert account is not None
        uow.accounts.save(attrs.evolve(account, frozen=True))
        uow.commit()
    assert "has frozen this account" in holder.run("rotate", status=1)
    assert "has frozen this account" in holder.run("close", "--yes", status=1)
    assert holder.token() == token
    assert holder.asked("status")[0]["frozen"] is True


def test_an_account_is_closed(town: Town, holder: Holder) -> None:
    token = holder.token()
    town.service.accounts.open_with_grant(token, 5)
    assert "has 5 credits and 0 in escrow" in holder.run("close", status=2)
    assert "is closed" in holder.run("close", "--yes")
    assert list(holder.folder.iterdir()) == []
    assert "no account of the role 'foreman' is kept" in holder.run("history", status=2)
    assert holder.token() != token


def test_an_empty_account_is_closed_without_asking(town: Town, holder: Holder) -> None:
    town.service.accounts.open_with_grant(holder.token(), 0)
    assert "is closed" in holder.run("close")


def test_closing_with_a_lost_answer(town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with lossy(town) as (url, _):
        holder = Holder(tmp_path, url, capsys)
        token = holder.token()
        town.service.accounts.open_with_grant(token, 0)
        closed = town.service.accounts.close

        def close(token: str) -> None:
            closed(token)
            town.service.accounts.close = closed  # type: ignore[method-assign] # only once
            raise ZeroDivisionError("after it is done")

        town.service.accounts.close = close  # type: ignore[method-assign] # a double
        assert "is closed" in holder.run("close", "--patience", "5")
        assert list(holder.folder.iterdir()) == []


# --- refusals -------------------------------------------------------------------------------------------------------


def test_looking_opens_no_account(holder: Holder) -> None:
    assert "no account at http" in holder.run("status", status=2)
    assert "no account of the role 'foreman'" in holder.run("history", status=2)
    assert list(holder.folder.iterdir()) == []


def test_a_token_that_discovery_does_not_know(holder: Holder) -> None:
    holder.token()
    assert "no account has this token" in holder.run("status", status=1)


def test_discovery_must_be_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EC262_DISCOVERY", raising=False)
    assert account.main(["status"]) == 2
    assert "give --discovery URL" in capsys.readouterr().err


# --- by real commands -----------------------------------------------------------------------------------------------


def test_by_the_command_line(tmp_path: Path) -> None:
    with running_discovery(tmp_path) as running:
        flags = ["--discovery", running.url, "--credentials", str(tmp_path / "keys")]
        token = load_or_create_token(tmp_path / "keys", running.url, "foreman")
        requests.post(f"{running.url}/v1/account", headers={"Authorization": f"Bearer {token}"}, timeout=10)

        def run(*command: str) -> str:
            done = subprocess.run([*COMMAND, *command, *flags], capture_output=True, text=True, timeout=60, check=True)
            assert done.stderr == ""
            return done.stdout

        assert re.search(r" \+12 +12  starting credits\n$", run("history"))
        assert "token replaced" in run("rotate")
        assert " 12 " in run("status")
